"""Chat models on simulated servers."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from cluster.chat import ChatModels
from cluster.settings import Settings
from tests.simulators.chat_server import ChatServerSimulator, chat_server

KEY = "sk-chat-secret-1234567890"

OpenModels = Callable[..., ChatModels]


@pytest.fixture
def chat() -> Iterator[ChatServerSimulator]:
    with chat_server() as server:
        yield server
        assert server.complaints == []


@pytest.fixture
def backup() -> Iterator[ChatServerSimulator]:
    """The server of the fallback."""
    with chat_server() as server:
        server.reply = lambda messages: "The backup answers."
        yield server
        assert server.complaints == []


@pytest.fixture
async def models(chat: ChatServerSimulator, backup: ChatServerSimulator) -> AsyncIterator[OpenModels]:
    """``models(fallback="backup", ...)`` opens the models ``main``, with these options, and ``backup``."""
    opened: list[ChatModels] = []

    def open_models(**options: object) -> ChatModels:
        shared = {"context_tokens": 4_096, "key_env": "CHAT_KEY"}
        table = {
            "main": {**shared, "model": "m-1", "base_url": chat.url, **options},
            "backup": {**shared, "model": "m-2", "base_url": backup.url},
        }
        settings = Settings(chat_models=table)  # type: ignore[arg-type]  # pydantic reads dictionaries
        opened.append(ChatModels(settings, {"CHAT_KEY": KEY}))
        return opened[-1]

    yield open_models
    for one in opened:
        await one.close()
