"""A stream of server-sent events: every event once, comments while nothing happens, an end in time, and a
limit of listeners.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message

from cluster.errors import Throttled
from serve_app.edge.sse import Batch, EventStream, Listeners, ServerSentEvent


class Numbers:
    """Gives one event in each call, and nothing in between."""

    def __init__(self, count: int) -> None:
        self._numbers: Iterator[int] = iter(range(1, count + 1))
        self._count, self._silent = count, False

    async def next(self, timeout_s: float) -> Batch | None:
        await asyncio.sleep(timeout_s)
        self._silent = not self._silent
        if self._silent:
            return None
        number = next(self._numbers)
        event = ServerSentEvent(id=number, type="number", data={"text": f"line\n{number}"})
        return Batch(events=[event], last=number == self._count)


def sent(stream: EventStream) -> tuple[dict[str, str], str]:
    """The headers and the text that a client receives."""
    messages: list[Message] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    asyncio.run(stream({"type": "http"}, receive, send))
    head, *parts = messages
    assert not parts[-1]["more_body"]
    headers = {name.decode(): value.decode() for name, value in head["headers"]}
    return headers, b"".join(part["body"] for part in parts).decode()


def stream(
    listeners: Listeners, *, count: int = 2, longest_s: float = 10, stops: bool = False
) -> EventStream:
    return EventStream(
        Numbers(count),
        listeners=listeners,
        stopping=lambda: stops,
        longest_s=longest_s,
        heartbeat_s=0.001,
    )


def test_every_event_is_sent_once_with_its_id_and_comments_between() -> None:
    listeners = Listeners(1, instead="wait")
    headers, text = sent(stream(listeners))
    assert headers == {
        "cache-control": "no-store",
        "x-accel-buffering": "no",
        "content-type": "text/event-stream; charset=utf-8",
    }
    assert text == (
        "retry: 1000\n\n"
        ": nothing new\n\n"
        'id: 1\nevent: number\ndata: {"text":"line\\n1"}\n\n'
        ": nothing new\n\n"
        'id: 2\nevent: number\ndata: {"text":"line\\n2"}\n\n'
    )
    assert listeners.count == 0


@pytest.mark.parametrize("end", [{"longest_s": 0.0}, {"stops": True}])
def test_it_ends_when_the_time_is_over_or_the_replica_stops(end: dict[str, Any]) -> None:
    _, text = sent(stream(Listeners(1, instead="wait"), count=1_000, **end))
    assert text == "retry: 1000\n\n: nothing new\n\n"


def test_listeners_above_the_limit_are_refused_with_what_to_do_instead() -> None:
    listeners = Listeners(1, instead="ask GET /things")
    with (
        listeners.one_more(),
        pytest.raises(Throttled, match="1 listeners and accepts no more; ask GET /things"),
    ):
        sent(stream(listeners))
    sent(stream(listeners))
