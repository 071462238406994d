"""Measurements of requests to chat servers."""

from contextlib import aclosing

import pytest

from cluster.chat import ChatMessage, ChatModels, ChatRequest
from cluster.errors import ProviderUnavailable
from cluster.settings import Settings
from serve_app.chat.chat_stats import ChatStats, taken
from tests.simulators.chat_server import ChatFault, chat_server


async def test_first_tokens_speeds_and_failures_are_measured_for_each_model() -> None:
    with chat_server() as main, chat_server() as backup:
        main.faults += [ChatFault.BROKEN, None]
        main.first_token_s, main.token_s = 0.1, 0.02
        servers = {"main": main, "backup": backup}
        table = {
            name: {"model": "m", "base_url": server.url, "context_tokens": 4_096}
            for name, server in servers.items()
        }
        table["main"]["fallback"] = "backup"
        stats = ChatStats()
        models = ChatModels(Settings(chat_models=table), observer=stats)  # type: ignore[arg-type]
        request = ChatRequest(messages=[ChatMessage("user", "one two three four five six seven")])

        async def ask(name: str) -> None:
            async with aclosing(models.named(name).stream(request)) as stream:
                async for _ in stream:
                    pass

        await ask("main")
        main.always = ChatFault.BROKEN
        await ask("main")
        backup.always = ChatFault.BROKEN
        with pytest.raises(ProviderUnavailable):
            await ask("backup")
        await models.close()

    first = list(taken(stats.first_tokens))
    assert [model for model, _ in first] == ["main", "backup"]
    assert first[0][1] >= 0.1
    (_, tokens, speed), (backup_name, _, _) = taken(stats.answers)
    assert (tokens, backup_name) == (9, "backup")
    assert speed is not None
    assert speed > 0
    assert (
        list(taken(stats.failures))
        == [("main", "ProviderUnavailable")] * 3 + [("backup", "ProviderUnavailable")] * 2
    )
    assert not stats.first_tokens
