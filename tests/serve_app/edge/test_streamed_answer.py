"""A streamed answer keeps its connection, reports errors, and ends its generator with its client."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import Message

from cluster.errors import Unavailable
from serve_app.edge.streamed_answer import HEARTBEAT, MAX_WAITING_EVENTS, StreamedAnswer


class Writer:
    """A generator of events that records what becomes of it."""

    def __init__(self, *steps: float | bytes | Exception) -> None:
        self._steps = steps
        self.written = 0
        self.closed = False

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Wait for each number of seconds, yield each text, and raise each error."""
        try:
            for step in self._steps:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, bytes):
                    yield step
                    self.written += 1
                else:
                    raise step
        finally:
            await asyncio.sleep(0)  # storing an answer takes time, too
            self.closed = True


async def sent(writer: Writer, *, heartbeat_s: float = 10.0) -> list[bytes]:
    """The parts of the body."""
    parts: list[bytes] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            parts.append(message["body"])

    stream = await StreamedAnswer.begin(writer.events(), heartbeat_s=heartbeat_s)
    await stream({}, _nothing, send)
    return parts


async def _nothing() -> Any:
    await asyncio.Event().wait()


async def test_comments_come_while_the_model_writes_nothing() -> None:
    parts = await sent(Writer(0.5, b"a", 0.5, b"b"), heartbeat_s=0.04)

    assert parts[:2] == [HEARTBEAT, HEARTBEAT]
    assert [part for part in parts if part != HEARTBEAT] == [b"a", b"b", b""]
    assert HEARTBEAT in parts[parts.index(b"a") : parts.index(b"b")]


async def test_an_error_before_the_first_event_is_raised() -> None:
    writer = Writer(Unavailable("no server"), b"never")
    with pytest.raises(Unavailable, match="no server"):
        await sent(writer)

    assert writer.closed


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [(Unavailable("it broke off"), "unavailable", "it broke off"), (KeyError("x"), None, "internal error")],
)
async def test_a_later_error_is_the_last_event(error: Exception, code: str | None, message: str) -> None:
    first, last, end = await sent(Writer(b"a", error, b"never"))

    assert (first, end) == (b"a", b"")
    assert last.endswith(b"\n\n")
    found = json.loads(last.removeprefix(b"data: "))["error"]
    assert found["code"] == code
    assert message in found["message"]


async def test_the_generator_waits_for_a_slow_client_and_ends_when_the_client_leaves() -> None:
    writer = Writer(*[b"a"] * 1_000)
    stuck = asyncio.Event()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            stuck.set()
            await asyncio.Event().wait()

    stream = await StreamedAnswer.begin(writer.events())
    client = asyncio.create_task(stream({}, _nothing, send))
    await stuck.wait()
    await asyncio.sleep(0.02)
    assert writer.written <= MAX_WAITING_EVENTS + 2
    client.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client

    assert writer.closed


async def test_the_generator_ends_when_the_client_leaves_before_the_first_event() -> None:
    writer = Writer(30.0)
    beginning = asyncio.create_task(StreamedAnswer.begin(writer.events()))
    await asyncio.sleep(0.02)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning

    assert writer.closed
