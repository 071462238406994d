"""Roll-ups are computed from the facts of dirty windows and replace what was there."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from cluster.analytics.rollups import HOUR as HOURLY
from cluster.analytics.rollups import compute_days, compute_hours, measures_sql, span_values
from cluster.platform_data.erasure import erase_customer
from cluster.platform_data.ids import row_id
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from cluster.usage.events import UsageEvent, UsageSource, record_usage

HOUR = datetime(2026, 3, 29, 0, tzinfo=UTC)


def send(connection: Connection[Any], organisation: str, *events: dict[str, Any]) -> None:
    """Insert events; an event without an id gets one from its values."""
    rows = [{"id": repr(event), "source": "/test", "subject": "customer", **event} for event in events]
    read, faults = read_events(organisation, rows)
    assert not faults
    with connection.transaction():
        ingest(connection, organisation, read)


def message(minute: int, *, conversation: str = "c", role: str = "user", **data: Any) -> dict[str, Any]:
    """An event with a message some minutes after HOUR."""
    return {
        "type": "message.created",
        "time": (HOUR + timedelta(minutes=minute)).isoformat(),
        "data": {"conversation_id": conversation, "agent_id": "helper", "role": role, **data},
    }


def stored(connection: Connection[Any], table: str, organisation: str) -> list[dict[str, Any]]:
    """The rows of the roll-up for the whole organisation, or of usage, by window."""
    window = "hour" if table.endswith("hourly") else "day"
    alone = " AND agent IS NULL" if table.startswith("agent") else ""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"SELECT * FROM {table} WHERE organisation = %s{alone} ORDER BY {window}", [organisation]
        ).fetchall()


def test_a_late_event_and_a_second_run_give_what_one_run_gives(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, message(1), message(2, role="assistant", latency_ms=100, cost="0.1"))
    compute_hours(pool, organisation)
    (hour,) = stored(connection, "agent_hourly", organisation)
    assert (hour["messages"], hour["latency_p95_ms"], hour["cost"]) == (2, 100, Decimal("0.1"))
    late = message(3, role="assistant", latency_ms=900, error_class="timeout")
    send(connection, organisation, late, message(61), message(1))  # the last one is a duplicate
    assert compute_hours(pool, organisation) >= 2
    assert compute_hours(pool, organisation) == 0
    first, second = stored(connection, "agent_hourly", organisation)
    assert (first["messages"], first["latency_p50_ms"], first["latency_p95_ms"]) == (3, 100, 900)
    assert (first["errors_by_class"], first["conversations"], first["turns"]) == ({"timeout": 1}, 1, 2)
    assert (first["unanswered"], second["messages"], second["conversations"]) == (1, 1, 0)


def test_days_are_those_of_the_time_zone_and_follow_its_change(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    # In Kathmandu, midnight is at 18:15 UTC.
    send(connection, organisation, message(18 * 60 + 14), message(18 * 60 + 15))
    compute_days(pool, organisation)
    assert [row["messages"] for row in stored(connection, "agent_daily", organisation)] == [2]
    connection.execute("UPDATE organisations SET time_zone = 'Asia/Kathmandu' WHERE id = %s", [organisation])
    compute_days(pool, organisation)
    days = stored(connection, "agent_daily", organisation)
    assert [(str(row["day"]), row["messages"]) for row in days] == [("2026-03-29", 1), ("2026-03-30", 1)]


def test_an_erasure_changes_the_rollups(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, message(1), message(2, conversation="other") | {"subject": "other"})
    compute_days(pool, organisation)
    with connection.transaction():
        erase_customer(connection, organisation, row_id("cust", organisation, "customer"))
    compute_days(pool, organisation)
    for table in ("agent_hourly", "agent_daily"):
        (row,) = stored(connection, table, organisation)
        assert (row["messages"], row["conversations"], row["customers"]) == (1, 1, 1)


def test_costs_follow_the_prices(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    event = UsageEvent(
        organisation=organisation, id="u", source=UsageSource.JOB, model="m", quantity=3, at=HOUR
    )
    with connection.transaction():
        record_usage(connection, [event])
    compute_days(pool, organisation)
    (hour,) = stored(connection, "usage_hourly", organisation)
    assert (hour["quantity"], hour["cost"], hour["kind"]) == (3, None, "embedding")
    connection.execute(
        "INSERT INTO usage_prices (organisation, kind, price, valid_from) VALUES (%s, 'embedding', 0.5, %s)",
        [organisation, HOUR],
    )
    compute_days(pool, organisation)
    for table in ("usage_hourly", "usage_daily"):
        (row,) = stored(connection, table, organisation)
        assert (row["quantity"], row["cost"]) == (3, Decimal("1.5"))


def test_the_events_of_an_organisation_that_is_new_to_the_statistics_are_found_by_their_time(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    """The other indexes that begin with the organisation would read all of its events for each window."""
    connection.execute(
        """
        INSERT INTO customer_events (organisation, source, id, type, occurred_at, received_at)
        SELECT %s, '/test', number, 'a', %s + number * interval '1 minute', now() + number * interval '1 ms'
        FROM generate_series(1, 5000) AS number
        """,
        [organisation, HOUR],
    )
    connection.execute("ANALYZE customer_events")
    spans = [(begin, begin, begin + timedelta(hours=1)) for begin in (HOUR, HOUR + timedelta(days=1))]
    values = {"organisation": stranger, **span_values(spans)}
    plan = "\n".join(line for (line,) in connection.execute("EXPLAIN " + measures_sql(HOURLY), values))
    connection.rollback()
    assert "using customer_events_occurred" in plan, plan
    assert "AND (occurred_at >= " in plan, plan
