"""The whole cluster keeps a provider's rate limits, shares them fairly, and uses nearly all of them."""

import asyncio
import itertools
import json
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from uuid import uuid4

import pytest
from psycopg_pool import ConnectionPool

from cluster.errors import InvalidInput, Throttled
from cluster.rate_limits import Grant, SharedBudget
from tests.cluster.rate_limits.caller import LIMITS
from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S, Stopwatch, until

A_MINUTE = 60.0


@pytest.fixture
def name() -> str:
    return f"provider-{uuid4().hex[:8]}"


@pytest.fixture
def budget(pool: ConnectionPool, name: str) -> SharedBudget:
    """A budget of ten requests and a thousand tokens a minute. Used amounts stay used during a test."""
    return SharedBudget(pool, name, {"requests": (10, A_MINUTE), "tokens": (1_000, A_MINUTE)}, burst=1.0)


def take(budget: SharedBudget, requests: int = 1, tokens: int = 0, **options: object) -> Grant:
    """Take room without waiting for it."""
    return budget.acquire(
        {"requests": requests, "tokens": tokens},
        **{"organisation": "acme", "timeout_s": 0.0, **options},  # type: ignore[arg-type]
    )


def room(pool: ConnectionPool, budget: SharedBudget, resource: str) -> float:
    """Return the amount of the limit that is neither used nor held."""
    query = """
        SELECT coalesce(sum(amount), 0) FROM (
            SELECT resource, amount FROM rate_usage WHERE budget = %(name)s AND until > clock_timestamp()
            UNION ALL
            SELECT part.* FROM rate_claims, unnest(resources, amounts) AS part (resource, amount)
            WHERE budget = %(name)s AND state <> 'waiting') AS uses
        WHERE resource = %(resource)s"""
    with pool.connection() as connection:
        row = connection.execute(query, {"name": budget.name, "resource": resource}).fetchone()
    assert row is not None
    return budget.limits[resource][0] - float(row[0])


async def served_first(
    pool: ConnectionPool,
    budget: SharedBudget,
    count: int,
    callers: list[tuple[str, bool]],
    *,
    rounds: int = 1,
) -> Counter[str]:
    """Let callers wait in this order. In each round, give room to ``count`` of them. Return how often each
    caller got room, by name.
    """
    budget.pause(600)
    served: Counter[str] = Counter()

    async def wait(organisation: str, urgent: bool) -> None:
        await budget.acquire_async({"requests": 1}, organisation=organisation, urgent=urgent, timeout_s=900)
        served[organisation] += 1

    tasks = []
    for place, caller in enumerate(callers, start=1):
        tasks.append(asyncio.create_task(wait(*caller)))
        await asyncio.to_thread(until, lambda place=place: claims(pool, budget) == place)
    with pool.connection() as connection:
        connection.execute("UPDATE rate_budgets SET paused_until = clock WHERE name = %s", [budget.name])
    for number in range(1, rounds + 1):
        await asyncio.to_thread(until, lambda number=number: served.total() == number * count)
        with pool.connection() as connection:
            if number < rounds:  # the window passes
                query = "DELETE FROM rate_claims WHERE budget = %s AND state <> 'waiting'"
                connection.execute(query, [budget.name])
                connection.execute("DELETE FROM rate_paces WHERE budget = %s", [budget.name])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return served


def claims(pool: ConnectionPool, budget: SharedBudget) -> int:
    with pool.connection() as connection:
        query = "SELECT count(*) FROM rate_claims WHERE budget = %s AND state = 'waiting'"
        row = connection.execute(query, [budget.name]).fetchone()
    assert row is not None
    return int(row[0])


def held(pool: ConnectionPool, budget: SharedBudget) -> int:
    with pool.connection() as connection:
        query = "SELECT count(*) FROM rate_claims WHERE budget = %s AND state <> 'waiting'"
        row = connection.execute(query, [budget.name]).fetchone()
    assert row is not None
    return int(row[0])


def used(pool: ConnectionPool, name: str) -> float:
    with pool.connection() as connection:
        row = connection.execute("SELECT sum(amount) FROM rate_usage WHERE budget = %s", [name]).fetchone()
    assert row is not None
    return float(row[0] or 0)


def start(url: str, name: str, *, window_s: float, seconds: float, seed: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.cluster.rate_limits.caller", url, name]
    return subprocess.Popen(
        [*command, str(window_s), str(seconds), str(seed)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_processes_together_never_exceed_a_limit_and_use_nearly_all_of_it(
    database_url: str, name: str
) -> None:
    window_s = 2.0
    callers = [start(database_url, name, window_s=window_s, seconds=6, seed=seed) for seed in range(3)]

    by_process = [json.loads(caller.communicate(timeout=LONGEST_WAIT_S)[0]) for caller in callers]

    calls = sorted(call for made in by_process for call in made)
    amounts = {
        "requests": [(at, 1) for at, *_ in calls],
        "tokens": [(at, tokens) for at, tokens, *_ in calls],
    }
    for resource, most in LIMITS.items():
        for number, (begin, _) in enumerate(amounts[resource]):
            window = itertools.takewhile(lambda use: use[0] < begin + window_s, amounts[resource][number:])  # noqa: B023
            assert sum(amount for _, amount in window) <= most
    begin, end = max(made[0][0] for made in by_process), min(made[-1][0] for made in by_process)
    shares = {
        resource: sum(amount for at, amount in amounts[resource] if begin <= at < end)
        / (most * (end - begin) / window_s)
        for resource, most in LIMITS.items()
    }
    # A grant takes room while its call is in flight, and calls are slow if other tests use the processor.
    in_flight_s = statistics.mean(call[3] for call in calls)
    assert max(shares.values()) >= min(0.9, 0.95 * window_s / (window_s + in_flight_s)), shares
    by_organisation = Counter(organisation for at, _, organisation, _ in calls if begin <= at < end)
    if max(shares.values()) >= 0.9:  # on a busy machine, callers may be too slow to compete for the budget
        assert by_organisation["other"] > 0.4 * by_organisation.total()  # from a quarter of the threads


def test_a_grant_counts_for_a_window_from_its_settlement(pool: ConnectionPool, name: str) -> None:
    budget = SharedBudget(pool, name, {"requests": (1, 0.5)})
    grant = budget.acquire({"requests": 1}, organisation="acme", timeout_s=0)
    time.sleep(0.6)
    with pytest.raises(Throttled):  # the call may reach the provider only now
        budget.acquire({"requests": 1}, organisation="acme", timeout_s=0)
    settling = time.monotonic()
    grant.settle()
    settled = Stopwatch()

    budget.acquire({"requests": 1}, organisation="acme", timeout_s=LONGEST_WAIT_S)

    # The window begins when Postgres settles the grant, a little before the test goes on.
    assert time.monotonic() - settling >= 0.5
    assert settled.seconds() < 1.0


def test_a_settlement_gives_back_what_the_provider_did_not_count(
    pool: ConnectionPool, budget: SharedBudget
) -> None:
    with take(budget, tokens=1_000) as grant:
        assert room(pool, budget, "tokens") == 0
        grant.settle({"tokens": 300})
    grant.settle({"tokens": 900})  # the end of the block and later calls change nothing

    assert (room(pool, budget, "tokens"), room(pool, budget, "requests")) == (700, 9)


def test_a_caller_learns_at_once_when_there_will_be_room(budget: SharedBudget) -> None:
    take(budget, tokens=950).settle()
    began = Stopwatch()

    with pytest.raises(Throttled, match=f"the rate limit of {budget.name} has no room within 20 s") as raised:
        take(budget, tokens=100, timeout_s=20.0)

    assert began.seconds() < 5
    assert raised.value.retry_after_s == pytest.approx(A_MINUTE, abs=5)
    take(budget, tokens=50)  # the caller left the line


def test_a_call_larger_than_a_limit_is_refused(budget: SharedBudget) -> None:
    with pytest.raises(InvalidInput, match=r"needs 1,001 tokens, and .* allows 1,000 in 60 s; make the call"):
        take(budget, tokens=1_001)
    with pytest.raises(InvalidInput, match="has no limit for images"):
        budget.acquire({"images": 1}, organisation="acme", timeout_s=0)


def test_the_provider_can_only_take_room_away(pool: ConnectionPool, budget: SharedBudget) -> None:
    take(budget, tokens=200).settle()
    budget.correct(remaining={"tokens": 900, "requests": 10, "images": 3})
    assert (room(pool, budget, "tokens"), room(pool, budget, "requests")) == (800, 9)

    for _ in range(2):  # the same news twice counts once
        budget.correct(remaining={"tokens": 500})
        assert (room(pool, budget, "tokens"), room(pool, budget, "requests")) == (500, 9)


def test_room_that_the_provider_took_away_comes_back_when_it_says(
    pool: ConnectionPool, budget: SharedBudget
) -> None:
    budget.correct(remaining={"tokens": 0}, reset_s={"tokens": 0.3})
    assert room(pool, budget, "tokens") == 0

    take(budget, tokens=1_000, timeout_s=LONGEST_WAIT_S)


def test_a_pause_holds_back_every_process(pool: ConnectionPool, budget: SharedBudget) -> None:
    budget.pause(1.0)
    budget.pause(0.01)  # a shorter one does not end it
    elsewhere = SharedBudget(pool, budget.name, budget.limits, burst=1.0)
    with pytest.raises(Throttled) as raised:
        take(elsewhere)
    assert 0.01 < (raised.value.retry_after_s or 0) <= 1.0

    take(elsewhere, timeout_s=LONGEST_WAIT_S)


async def test_an_organisation_is_not_delayed_by_another_that_floods(pool: ConnectionPool, name: str) -> None:
    budget = SharedBudget(pool, name, {"requests": (8, A_MINUTE)}, burst=1.0)

    served = await served_first(pool, budget, 8, [("flooding", False)] * 20 + [("quiet", False)] * 3)

    assert served == {"flooding": 5, "quiet": 3}


async def test_weights_change_the_shares_of_organisations(pool: ConnectionPool, name: str) -> None:
    weights = {"paying": 3.0}
    budget = SharedBudget(pool, name, {"requests": (8, A_MINUTE)}, weights=weights, burst=1.0)

    served = await served_first(pool, budget, 8, [("free", False)] * 9 + [("paying", False)] * 9)

    assert served == {"free": 2, "paying": 6}


async def test_urgent_claims_go_first_and_others_still_go(pool: ConnectionPool, name: str) -> None:
    budget = SharedBudget(pool, name, {"requests": (6, A_MINUTE)}, burst=1.0)
    callers = [("bulk", False)] * 3 + [("person", True)] * 20

    served = await served_first(pool, budget, 6, callers, rounds=2)

    assert served == {"person": 11, "bulk": 1}


def test_bulk_work_leaves_room_at_any_time_for_a_person(
    database_url: str, pool: ConnectionPool, name: str
) -> None:
    budget = SharedBudget(pool, name, {"requests": (60, 3.0), "tokens": (6_000, 3.0)})
    flood = start(database_url, name, window_s=3.0, seconds=3_600, seed=1)
    until(lambda: room(pool, budget, "tokens") < 1_500)
    waits = []
    for _ in range(12):
        began = Stopwatch()
        budget.acquire({"requests": 1}, organisation="acme", urgent=True, timeout_s=LONGEST_WAIT_S).settle()
        waits.append(began.seconds())
        time.sleep(0.05)
    flood.kill()
    flood.communicate()

    assert statistics.quantiles(waits, n=20)[-1] < 1.0  # without pacing, up to a window


def test_a_killed_process_loses_nothing_but_its_grants(
    database_url: str, pool: ConnectionPool, name: str
) -> None:
    killed = start(database_url, name, window_s=0.5, seconds=3_600, seed=1)
    budget = SharedBudget(pool, name, {"requests": (60, 0.5), "tokens": (6_000, 0.5)})

    def stopped_with_a_claim_or_grant() -> bool:
        killed.send_signal(signal.SIGCONT)
        until(lambda: claims(pool, budget) + held(pool, budget) > 0)
        killed.send_signal(signal.SIGSTOP)
        time.sleep(0.05)  # Postgres ends the statements that were already sent
        return claims(pool, budget) + held(pool, budget) > 0

    until(stopped_with_a_claim_or_grant)
    killed.kill()
    killed.communicate()

    assert claims(pool, budget) + held(pool, budget) > 0
    for _ in range(3):
        budget.acquire(
            {"requests": 56, "tokens": 5_000}, organisation="acme", timeout_s=LONGEST_WAIT_S
        ).settle()


def test_a_grant_of_a_killed_process_ends_with_its_lease(pool: ConnectionPool, name: str) -> None:
    budget = SharedBudget(pool, name, {"requests": (1, 0.3)}, lease_s=0.5)
    began = Stopwatch()
    budget.acquire({"requests": 1}, organisation="acme", timeout_s=0)

    budget.acquire({"requests": 1}, organisation="acme", timeout_s=LONGEST_WAIT_S)

    assert time.monotonic() - began.began >= 0.8  # its call may have been sent at the end of the lease
    assert began.seconds() < 2


async def test_a_cancelled_coroutine_leaves_the_line(pool: ConnectionPool, budget: SharedBudget) -> None:
    grant = await budget.acquire_async({"requests": 10}, organisation="acme", timeout_s=LONGEST_WAIT_S)
    caller = asyncio.create_task(budget.acquire_async({"requests": 1}, organisation="acme", timeout_s=600))
    await asyncio.to_thread(until, lambda: claims(pool, budget) == 1)
    assert not caller.done()

    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert claims(pool, budget) == 0
    grant.settle({"requests": 0})
    assert room(pool, budget, "requests") == 10


def test_the_clock_of_a_process_does_not_matter(
    budget: SharedBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(budget, requests=10).settle()
    later = time.time() + 3_600
    monkeypatch.setattr(time, "time", lambda: later)

    with pytest.raises(Throttled):
        take(budget)
