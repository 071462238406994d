"""The doctor's check of chat servers."""

import pytest

from cluster.doctor import parts
from cluster.settings import Settings
from tests.cluster.chat.conftest import KEY
from tests.simulators.chat_server import ChatFault, ChatServerSimulator


def test_the_doctor_asks_each_chat_server_and_names_what_is_wrong(
    chat: ChatServerSimulator, backup: ChatServerSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_KEY", KEY)
    shared = {"model": "m", "context_tokens": 4_096}
    table = {
        "main": {**shared, "base_url": chat.url, "key_env": "CHAT_KEY"},
        "backup": {**shared, "base_url": backup.url},
    }
    settings = Settings(chat_models=table)  # type: ignore[arg-type]  # pydantic reads dictionaries
    seen = parts.chat(settings)
    assert (seen.fine, seen.says) == (True, "the servers of main, backup answer")

    chat.always = ChatFault.WRONG_KEY
    seen = parts.chat(settings)
    assert not seen.fine
    assert "main: 127.0.0.1 refuses the key in CHAT_KEY with HTTP 401" in seen.says
    assert "backup" not in seen.says
    assert KEY not in str(seen)

    monkeypatch.delenv("CHAT_KEY")
    assert "CHAT_KEY is not set" in parts.chat(settings).says
    table["main"]["tokenizer_path"] = "/nowhere"
    seen = parts.chat(Settings(chat_models=table))  # type: ignore[arg-type]
    assert (seen.fine, "/nowhere/tokenizer.json cannot be read" in seen.says) == (False, True)
