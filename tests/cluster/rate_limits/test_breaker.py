"""No process calls a provider that does not answer, and a single call of the whole cluster tests the
provider.
"""

import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.errors import InvalidInput, Throttled, Unavailable
from cluster.rate_limits import BreakerState, SharedBreaker, breaker_states
from cluster.settings import Settings
from tests.waiting import LONGEST_WAIT_S, Stopwatch, until

PAUSE_S = 0.3


@pytest.fixture
def name(pool: ConnectionPool) -> Iterator[str]:
    """Name of a new provider. ``/readyz`` of other tests does not show it afterwards."""
    yield (name := f"provider-{uuid4().hex[:8]}")
    with pool.connection() as connection:
        connection.execute("DELETE FROM rate_breakers WHERE name = %s", [name])


def open_breaker(pool: ConnectionPool, name: str, *, pause_s: float = PAUSE_S) -> SharedBreaker:
    """Return the breaker as one process opens it."""
    return SharedBreaker(pool, name, threshold=3, first_pause_s=pause_s, longest_pause_s=2 * pause_s)


def fail(breaker: SharedBreaker, error: Exception | None = None, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(type(error or Unavailable(""))), breaker.attempt():
            raise error or Unavailable("503")


def call(breaker: SharedBreaker) -> None:
    with breaker.attempt():
        pass


def answers(breaker: SharedBreaker) -> bool:
    """True if the breaker lets a call through."""
    try:
        call(breaker)
    except Unavailable:
        return False
    return True


def state(pool: ConnectionPool, name: str) -> BreakerState:
    with pool.connection() as connection:
        (found,) = [one for one in breaker_states(connection) if one.name == name]
    return found


def test_repeated_failures_stop_the_calls_of_every_process(pool: ConnectionPool, name: str) -> None:
    here, elsewhere, other = (open_breaker(pool, name, pause_s=60) for _ in range(3))
    fail(here, times=2)
    fail(elsewhere)

    for breaker in (here, elsewhere, other):
        with pytest.raises(Unavailable, match=f"{name} did not answer several times") as raised:
            call(breaker)
        assert (raised.value.retry_after_s or 0) >= 1
    shown = state(pool, name)
    assert shown.open
    assert "the next call is sent at 20" in shown.sentence


def test_a_provider_that_nobody_calls_any_more_is_no_longer_shown(pool: ConnectionPool, name: str) -> None:
    fail(open_breaker(pool, name), times=3)
    with pool.connection() as connection:
        assert name in {one.name for one in breaker_states(connection)}
        connection.execute(
            "UPDATE rate_breakers SET retry_at = retry_at - interval '2 hours' WHERE name = %s", [name]
        )
        assert name not in {one.name for one in breaker_states(connection)}


def test_a_success_between_failures_keeps_the_breaker_closed(pool: ConnectionPool, name: str) -> None:
    breaker = open_breaker(pool, name)
    for _ in range(3):
        fail(breaker, times=2)
        call(breaker)

    assert not state(pool, name).open


def test_old_failures_do_not_count(pool: ConnectionPool, name: str) -> None:
    breaker = SharedBreaker(pool, name, threshold=2, window_s=0.1)
    fail(breaker)
    time.sleep(0.15)
    fail(breaker)

    call(breaker)


@pytest.mark.parametrize("error", [InvalidInput("400"), Throttled("429"), ValueError("ours")], ids=repr)
def test_an_answer_is_no_failure(pool: ConnectionPool, name: str, error: Exception) -> None:
    breaker = open_breaker(pool, name)
    fail(breaker, error, times=5)

    call(breaker)


def test_one_call_of_the_cluster_probes_and_closes(pool: ConnectionPool, name: str) -> None:
    breakers = [open_breaker(pool, name) for _ in range(6)]
    fail(breakers[0], times=3)
    time.sleep(PAUSE_S)
    sent, refused, done = [], [], threading.Event()

    def probe(breaker: SharedBreaker) -> None:
        try:
            with breaker.attempt():
                sent.append(breaker)
                done.wait(LONGEST_WAIT_S)
        except Unavailable as exc:
            refused.append(exc)

    threads = [threading.Thread(target=probe, args=[breaker]) for breaker in breakers]
    for thread in threads:
        thread.start()
    until(lambda: len(refused) == 5)
    shown = state(pool, name)
    done.set()
    for thread in threads:
        thread.join()

    assert (len(sent), len(refused)) == (1, 5)
    assert "a call that tests it is in flight" in shown.sentence
    assert not state(pool, name).open
    for breaker in breakers:
        call(breaker)


def test_the_pause_grows_while_probes_fail(pool: ConnectionPool, name: str) -> None:
    breaker = open_breaker(pool, name)
    fail(breaker, times=3)
    time.sleep(PAUSE_S)
    failing = Stopwatch()
    fail(breaker)

    until(lambda: answers(breaker))

    assert time.monotonic() - failing.began >= 2 * PAUSE_S
    assert failing.seconds() < 3 * PAUSE_S


def test_the_provider_can_ask_for_a_longer_pause(pool: ConnectionPool, name: str) -> None:
    breaker = SharedBreaker(pool, name, threshold=1, first_pause_s=0.1)
    fail(breaker, Unavailable("503", retry_after_s=60))

    with pytest.raises(Unavailable) as raised:
        call(breaker)
    assert raised.value.retry_after_s == pytest.approx(60, abs=5)


@pytest.mark.parametrize("error", [Throttled("429"), KeyboardInterrupt()], ids=repr)
def test_a_probe_without_an_answer_makes_way_for_the_next(
    pool: ConnectionPool, name: str, error: BaseException
) -> None:
    breaker = open_breaker(pool, name)
    fail(breaker, times=3)
    time.sleep(PAUSE_S)
    with pytest.raises(type(error)), breaker.attempt():
        raise error
    assert state(pool, name).open

    call(open_breaker(pool, name))

    assert not state(pool, name).open


def test_the_probe_of_a_killed_process_makes_way_for_the_next(
    pool: ConnectionPool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.rate_limits.breaker.PROBE_S", 1.0)
    breaker = open_breaker(pool, name)
    fail(breaker, times=3)
    time.sleep(PAUSE_S)
    breaker.attempt().__enter__()
    with pytest.raises(Unavailable):
        call(breaker)

    time.sleep(1.05)

    call(breaker)


async def test_coroutines_use_it_too(pool: ConnectionPool, name: str) -> None:
    breaker = open_breaker(pool, name, pause_s=60)
    for _ in range(3):
        with pytest.raises(Unavailable):
            async with breaker.attempt():
                raise Unavailable("503")

    with pytest.raises(Unavailable, match="did not answer several times"):
        async with breaker.attempt():
            raise AssertionError("not called")


def test_an_answer_is_not_lost_with_the_database(settings: Settings, name: str) -> None:
    own = open_pool(settings, access=OWNER)
    breaker = open_breaker(own, name)
    fail(breaker)
    with breaker.attempt():
        own.close()
    with pytest.raises(Unavailable, match=r"^database: "):
        call(open_breaker(own, name))  # before a call, the error names the database
