"""Differences are found and repaired, old facts are deleted without their roll-ups, and days are exact."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.analytics.reconciliation import difference_count, known_differences, reconcile, repair
from cluster.analytics.retention import delete_old_facts
from cluster.analytics.rollups import compute_days
from cluster.usage.events import UsageEvent, UsageSource, record_usage
from tests.cluster.analytics.test_rollups import message, send, stored

NOW = datetime.now(UTC)
#: Minutes from HOUR of ``test_rollups``, 29 March 2026, to three days ago.
RECENT = int((NOW - timedelta(days=3) - datetime(2026, 3, 29, tzinfo=UTC)).total_seconds()) // 60


def test_a_wrong_rollup_is_found_and_repaired(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    connection.execute("UPDATE organisations SET time_zone = 'Asia/Kathmandu' WHERE id = %s", [organisation])
    send(connection, organisation, message(RECENT), message(RECENT + 1, role="assistant", cost="0.2"))
    event = UsageEvent(organisation=organisation, id="u", source=UsageSource.JOB, model="m", quantity=3)
    with connection.transaction():
        record_usage(connection, [event])
    first = reconcile(pool, organisation)
    assert (first.windows, first.differences) == (2, [])  # an hour and a day; usage of today is not compared
    connection.execute("UPDATE agent_hourly SET cost = 1 WHERE organisation = %s", [organisation])
    connection.execute("DELETE FROM agent_daily WHERE organisation = %s", [organisation])
    found = reconcile(pool, organisation).differences
    assert [(one.about, one.grain) for one in found] == [("platform", "hour"), ("platform", "day")]
    assert found[0].facts is not None
    assert found[0].facts["cost"] == pytest.approx(0.2)
    assert found[1].rollup is None
    assert [one for owner, one in known_differences(connection) if owner == organisation] == found
    assert difference_count(connection) >= 2
    assert repair(pool, organisation).differences == []
    assert not [owner for owner, _ in known_differences(connection) if owner == organisation]


def test_a_day_that_was_billed_wrongly_is_found(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    event = UsageEvent(
        organisation=organisation,
        id="u",
        source=UsageSource.JOB,
        model="m",
        quantity=3,
        at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    with connection.transaction():
        record_usage(connection, [event])
    compute_days(pool, organisation)
    connection.execute(
        "INSERT INTO usage_reports (organisation, id, period_start, period_end, time_zone, state, with_pdf)"
        " VALUES (%s, 'r', '2026-03-01', '2026-04-01', 'UTC', 'final', true)",
        [organisation],
    )
    connection.execute(
        "INSERT INTO usage_report_lines (organisation, report, number, adjustment, day, agent, model, kind,"
        " unit, quantity, events) SELECT organisation, 'r', 1, false, day, '', model, kind, 'tokens', 4,"
        " events FROM usage_daily WHERE organisation = %s",
        [organisation],
    )
    assert reconcile(pool, organisation).differences == []  # the report is not complete
    connection.execute(
        "UPDATE usage_reports SET status = 'completed', completed_at = now(), csv_sha256 = 'a',"
        " pdf_sha256 = 'b' WHERE organisation = %s",
        [organisation],
    )
    (found,) = reconcile(pool, organisation).differences
    assert (found.about, found.window) == ("report", "2026-03-02")
    assert found.facts is not None
    assert found.rollup is not None
    assert (found.facts["quantity"], found.rollup["quantity"]) == (3, 4)


def test_a_window_that_waits_for_its_rollup_is_no_difference(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(connection, organisation, message(RECENT))
    monkeypatch.setattr("cluster.analytics.reconciliation.compute_days", lambda *_: 0)
    assert reconcile(pool, organisation).differences == []
    connection.execute("DELETE FROM dirty_windows WHERE organisation = %s", [organisation])
    assert len(reconcile(pool, organisation).differences) == 2


def test_old_facts_are_deleted_and_their_rollups_stay(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, message(1, conversation="old"), message(RECENT, conversation="new"))
    deleted = delete_old_facts(pool, organisation, days=30)
    assert deleted == {"messages": 1, "customer_events": 1, "conversations": 1}
    assert delete_old_facts(pool, organisation, days=30) == dict.fromkeys(deleted, 0)
    send(connection, organisation, message(2, conversation="late"))
    compute_days(pool, organisation)
    for table in ("agent_hourly", "agent_daily"):
        assert [row["messages"] for row in stored(connection, table, organisation)] == [1, 1]
    assert reconcile(pool, organisation).differences == []


def test_an_open_transaction_delays_nothing_and_loses_nothing(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    with pool.connection() as late:
        late.execute("SELECT now()")  # received_at of its rows is earlier than the roll-up
        compute_days(pool, organisation)
        send(late, organisation, message(5))
        compute_days(pool, organisation)
        assert stored(connection, "agent_hourly", organisation) == []
    compute_days(pool, organisation)
    assert [row["messages"] for row in stored(connection, "agent_hourly", organisation)] == [1]


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kathmandu",
        "America/Havana",
        "America/Sao_Paulo",
        "Africa/Cairo",
    ],
)
def test_a_day_begins_at_the_first_instant_of_its_date(connection: Connection[Any], zone: str) -> None:
    days = [date(year, 1, 1) + timedelta(days=number) for year in (2017, 2026) for number in range(366)]
    starts = connection.execute("SELECT start_of_day(day, %s) FROM unnest(%s::date[]) AS day", [zone, days])
    for day, (start,) in zip(days, starts.fetchall(), strict=True):
        local = [
            (start + step).astimezone(ZoneInfo(zone)).date() for step in (timedelta(0), -timedelta(seconds=1))
        ]
        assert local == [day, day - timedelta(days=1)], (zone, day)
