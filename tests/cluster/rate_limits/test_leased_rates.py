"""Replicas that share a rate admit its whole limit in each window, and never more."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection

from cluster.database import connect
from cluster.rate_limits import leased_rates
from cluster.rate_limits.leased_rate import LEASE_S
from cluster.rate_limits.leased_rates import LeasedRates, RateExceeded
from cluster.rate_limits.shared_rate import delete_expired_slices
from cluster.settings import Settings
from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S, until

#: Seconds of a window, and the number of windows that are observed.
WINDOW_S, WINDOWS = 2.0, 2
LIMIT = 100_000
REPLICAS = 3


@pytest.fixture
def name() -> str:
    """Name of a new rate."""
    return f"acme/{uuid4().hex[:8]}"


@pytest.fixture
async def replicas(settings: Settings, pool: Any) -> AsyncIterator[list[LeasedRates]]:
    """Three replicas."""
    replicas = [LeasedRates(lambda: connect(settings)) for _ in range(REPLICAS)]
    yield replicas
    for replica in replicas:
        replica.close()


async def admitted(replica: LeasedRates, name: str, limit: int, amount: int = 1) -> bool:
    """True if the replica admits the amount."""
    try:
        await replica.take([(replica.rate(name, limit), amount)])
    except RateExceeded:
        return False
    return True


def test_three_processes_admit_the_limit_in_each_window(pool: Any, database_url: str, name: str) -> None:
    """The load is three times the limit. With slices that are not shared, each process admits the limit."""
    seconds = WINDOW_S * (WINDOWS + 0.4)
    load = 3 * LIMIT / WINDOW_S / REPLICAS
    arguments = [database_url, name, *map(str, (LIMIT, WINDOW_S, seconds, load))]
    command = [sys.executable, "-m", "tests.cluster.rate_limits.admitting", *arguments]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(REPLICAS)
    ]
    rows = sorted(tuple(row) for one in processes for row in json.loads(one.communicate()[0]))
    began = min(after for _, after, _ in rows)
    for window in range(WINDOWS):
        start, end = began + window * WINDOW_S, began + (window + 1) * WINDOW_S
        # A busy machine can stop a process between an admission and the reading of its clock.
        assert sum(amount for asked, after, amount in rows if start <= after and asked < end) >= 0.95 * LIMIT
        assert sum(amount for asked, after, amount in rows if start <= asked and after < end) <= 1.05 * LIMIT
    most = max(
        sum(amount for asked, after, amount in rows if start <= asked and after < start + WINDOW_S - 0.1)
        for start, _, _ in rows
    )
    assert most <= LIMIT, "no window of any beginning has more than the limit"


async def test_a_small_limit_is_exact(replicas: list[LeasedRates], name: str) -> None:
    turns = [await admitted(replicas[turn % REPLICAS], name, 7) for turn in range(20)]
    assert turns == [True] * 7 + [False] * 13
    assert not any(await asyncio.gather(*(admitted(replica, name, 7) for replica in replicas * 20)))


async def test_one_request_may_take_the_whole_limit_and_none_may_pass_it(
    replicas: list[LeasedRates], name: str
) -> None:
    first, second, _ = replicas
    assert await admitted(first, name, 1_000, 1)
    assert not await admitted(second, name, 1_000, 1_000)
    ends = time.monotonic() + LONGEST_WAIT_S
    while not await admitted(second, name, 1_000, 999):
        assert time.monotonic() < ends, "the first replica has returned what it did not use"
        await asyncio.sleep(LEASE_S)
    assert first.remaining(first.rate(name, 1_000))[0] < 1_000


async def test_requests_share_the_questions_to_postgres(
    replicas: list[LeasedRates], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    real = leased_rates.exchange

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return real(*arguments, **options)

    monkeypatch.setattr(leased_rates, "exchange", counted)
    outcomes = await asyncio.gather(*(admitted(replicas[0], name, 1_000_000, 10) for _ in range(500)))
    assert all(outcomes)
    assert asked < 10


async def test_without_postgres_each_replica_keeps_the_limit_alone(
    settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leased_rates, "ALONE_S", 0.2)
    refusing, window_s = True, 1.0

    def connects() -> Connection[Any]:
        if refusing:
            raise psycopg.OperationalError("connection refused")
        return connect(settings)

    replica, other = (LeasedRates(how, window_s=window_s) for how in (connects, lambda: connect(settings)))
    try:
        assert [await admitted(replica, name, 5) for _ in range(8)] == [True] * 5 + [False] * 3
        refusing, began = False, time.monotonic()
        while not await admitted(replica, name, 5):
            await asyncio.sleep(0.05)
        assert time.monotonic() - began > window_s - 0.6
        await asyncio.sleep(leased_rates.ALONE_S + 0.1)
        await admitted(replica, name, 5)
        assert other.remaining(other.rate(name, 5))[0] == 5
        await other.take([(other.rate(name, 5), 0)])
        assert other.remaining(other.rate(name, 5))[0] < 5, "amounts admitted alone are reported afterwards"
    finally:
        replica.close()
        other.close()


async def test_expired_slices_of_a_rate_that_nobody_uses_are_deleted(
    settings: Settings, connection: Connection[Any], name: str
) -> None:
    replica = LeasedRates(lambda: connect(settings), window_s=0.5)
    try:
        assert await admitted(replica, name, 5)
        await asyncio.sleep(2 * LEASE_S)
    finally:
        replica.close()

    def kept() -> bool:
        delete_expired_slices(connection)
        return bool(connection.execute("SELECT FROM rate_slices WHERE rate = %s", [name]).fetchall())

    until(lambda: not kept())
