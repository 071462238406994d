"""Concurrent work never exceeds a budget, uses it to the last token, and returns what a dead process held."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg import Connection

from cluster.budgets.budgets import Period, Unit
from cluster.budgets.notices import check_budgets
from cluster.budgets.reservations import has_stops, release_all, renew
from cluster.errors import BudgetExceeded
from cluster.settings import Settings
from cluster.usage.events import PROVIDER_EMBEDDING, RERANKING
from tests.cluster.budgets.spender import MODEL, Spender
from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S, until


def used_by_events(connection: Connection[Any], organisation: str) -> Decimal:
    row = connection.execute(
        "SELECT coalesce(sum(quantity), 0) FROM usage_events WHERE organisation = %s", [organisation]
    ).fetchone()
    assert row is not None
    return Decimal(row[0])


def test_threads_never_exceed_a_budget_and_use_it_to_the_last_token(
    spender: Spender, connection: Connection[Any], organisation: str
) -> None:
    spender.budget(1_000)
    start = threading.Barrier(8)

    def spend(_: int) -> int:
        start.wait()
        refused = 0
        while refused < 3:
            try:
                spender.use(7, spender.reserve(7))
            except BudgetExceeded:
                refused += 1
        return refused

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(spend, range(8)))
    assert spender.only.used == 994 == used_by_events(connection, organisation)
    spender.use(6, spender.reserve(6))
    assert (spender.only.used, spender.only.reserved) == (1_000, 0)
    assert not spender.fits(1)


def test_a_budget_counts_work_in_progress_until_its_events_are_written(spender: Spender) -> None:
    spender.budget(100)
    first = spender.reserve(60)
    assert not spender.fits(41)
    spender.use(50, first)
    assert (spender.only.used, spender.only.reserved) == (50, 0)
    assert spender.fits(50)
    assert not spender.fits(51)


def test_an_event_that_is_written_twice_counts_once(spender: Spender) -> None:
    spender.budget(100)
    spender.use(30, id="use_once")
    spender.use(30, id="use_once")
    assert spender.only.used == 30


def test_a_new_budget_counts_what_its_period_has_used(spender: Spender) -> None:
    spender.use(30)
    spender.use(20, at=datetime.now(UTC) - timedelta(days=40))
    spender.use(10, kind=RERANKING)
    spender.use(5, kind=PROVIDER_EMBEDDING)
    assert spender.budget(100).used == 40
    spender.use(1)
    assert spender.only.used == 41


def test_events_that_are_not_committed_yet_are_not_missing_in_a_new_budget(spender: Spender) -> None:
    with spender.pool.connection() as writing:
        writing.execute(
            "INSERT INTO usage_events (organisation, id, kind, unit, quantity, model, source) "
            "VALUES (%s, 'use_open', 'embedding', 'tokens', 30, 'm', 'http')",
            [spender.organisation],
        )
        with ThreadPoolExecutor(1) as thread:
            made = thread.submit(spender.budget, 100)
            time.sleep(0.1)
            assert not made.done()
            writing.commit()
            assert made.result().used == 30


def test_budgets_of_a_key_count_only_the_work_of_the_key(
    spender: Spender, connection: Connection[Any], organisation: str
) -> None:
    connection.execute(
        "INSERT INTO api_keys (organisation, id, name, prefix, hash, scopes, created_by) "
        "VALUES (%s, 'key_a', 'a', 'ec-', sha256(%s::bytea), '{read}', 'test')",
        [organisation, organisation.encode()],
    )
    spender.budget(100, key="key_a")
    spender.use(500, key="key_b")
    assert spender.fits(10**6)
    spender.use(99, spender.reserve(99, key="key_a"), key="key_a")
    with pytest.raises(BudgetExceeded, match="of this API key allows 100 tokens a month; 99 tokens are used"):
        spender.reserve(2, key="key_a")
    assert spender.reserve(1, key="key_a")
    connection.execute("DELETE FROM api_keys WHERE organisation = %s", [organisation])


def test_money_is_exact(spender: Spender, connection: Connection[Any], organisation: str) -> None:
    connection.execute(
        "INSERT INTO usage_prices (organisation, kind, price, valid_from) "
        "VALUES (%s, 'embedding', 0.1, date_trunc('hour', now() - interval '1 day'))",
        [organisation],
    )
    spender.budget("0.3", unit=Unit.USD)
    for _ in range(3):  # in floating point, three times 0.1 is more than 0.3
        spender.use(1, spender.reserve(1))
    assert str(spender.only.used.normalize()) == "0.3"
    assert not spender.fits(1)
    spender.use(7, kind=RERANKING)  # has no price
    assert str(spender.only.used.normalize()) == "0.3"


def test_an_expired_reservation_is_returned_once_and_not_renewed(
    spender: Spender, connection: Connection[Any], organisation: str
) -> None:
    spender.budget(100)
    spender.reserve(60, lease_s=1)
    spender.reserve(30, lease_s=60)
    assert not spender.fits(11)
    time.sleep(1.01)
    renew(connection, organisation, "test", lease_s=60)
    assert spender.only.reserved == 30
    spender.reserve(70)
    for _ in range(2):
        check_budgets(connection)
        assert (spender.only.reserved, spender.fits(1)) == (100, False)
    release_all(connection, organisation, "test")
    assert (spender.only.reserved, spender.fits(100)) == (0, True)


def test_killed_processes_leak_nothing_and_others_never_exceed_the_budget(
    spender: Spender, settings: Settings, connection: Connection[Any], organisation: str
) -> None:
    spender.budget(350)
    command = [sys.executable, "-m", "tests.cluster.budgets.spend", str(settings.home), organisation]
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        processes.append(subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    try:
        killed = start("--hold")
        assert killed.stdout is not None
        assert killed.stdout.readline() == "holding\n"
        others = [start(), start()]
        killed.kill()
        assert [process.wait(LONGEST_WAIT_S) for process in others] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert spender.only.used == used_by_events(connection, organisation) <= 350
    until(lambda: not spender.only.reserved)
    rest = int(350 - spender.only.used)
    assert rest in {0, 7}  # all was used, or all but what the killed process held
    assert spender.fits(rest or 1) is bool(rest)


def test_a_period_ends_and_the_budget_renews(
    spender: Spender, connection: Connection[Any], organisation: str
) -> None:
    spender.budget(100, period=Period.DAY)
    spender.use(80)
    in_progress = spender.reserve(20)
    # A day passes.
    for statement in (
        "UPDATE usage_events SET at = at - interval '1 day' WHERE organisation = %s",
        "UPDATE budget_charges SET at = at - interval '1 day' WHERE organisation = %s",
        "UPDATE budget_periods SET starts_at = starts_at - interval '1 day', "
        "ends_at = ends_at - interval '1 day' WHERE organisation = %s",
    ):
        connection.execute(statement, [organisation])
    assert (spender.only.used, spender.only.reserved) == (0, 20)
    assert not spender.fits(81)
    spender.use(20, in_progress)
    assert spender.only.used == 20
    assert spender.fits(80)


def test_an_organisation_without_a_stop_needs_no_reservations(
    spender: Spender, connection: Connection[Any], organisation: str
) -> None:
    assert not has_stops(connection, organisation)
    spender.budget(warn_at=Decimal(10))
    assert not has_stops(connection, organisation)
    assert spender.fits(10**9)
    spender.budget(5)
    assert has_stops(connection, organisation)


def test_the_refusal_names_the_budget_and_when_it_renews(spender: Spender) -> None:
    day = spender.budget(10, period=Period.DAY)
    month = spender.budget(20, name="everything")
    spender.use(10)
    sentence = f"budget {day.id} allows 10 tokens a day; 10 tokens are used"
    with pytest.raises(BudgetExceeded, match=sentence) as daily:
        spender.reserve(1)
    assert daily.value.renews_at == day.ends_at
    assert 1 <= daily.value.retry_after_s <= 86_400
    spender.use(10)
    with pytest.raises(BudgetExceeded, match=rf"budget {month.id} \(everything\) allows 20 tokens a month"):
        spender.reserve(1)


def test_model_names_do_not_matter_for_tokens(spender: Spender) -> None:
    spender.budget(100)
    spender.use(40, model=MODEL)
    spender.use(40, model="another")
    assert spender.only.used == 80
