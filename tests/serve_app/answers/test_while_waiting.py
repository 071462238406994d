"""The first chunk of an answer is written once: while the chat server works, or when it is needed."""

import asyncio

from serve_app.routes.answers.while_waiting import WhileWaiting


async def test_the_value_is_computed_while_the_loop_waits() -> None:
    computed = asyncio.Event()
    value = WhileWaiting(lambda: computed.set() or b"sources")

    assert not computed.is_set()
    await computed.wait()
    computed.clear()
    assert value.value() == b"sources"
    assert not computed.is_set()


async def test_the_value_is_computed_when_it_is_needed_earlier() -> None:
    times: list[bytes] = []
    value = WhileWaiting(lambda: times.append(b"") or b"sources")

    assert value.value() == value.value() == b"sources"
    await asyncio.sleep(0.01)
    assert len(times) == 1
