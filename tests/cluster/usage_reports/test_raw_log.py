"""Reports equal an independent computation from the raw log: with duplicates, late events, and prices."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from psycopg_pool import ConnectionPool

from cluster.analytics.rollups import compute_days
from cluster.blobs import BlobStore
from cluster.usage.events import EMBEDDING, REQUEST, UsageEvent, UsageSource, record_usage
from cluster.usage.prices import UsagePrice, set_price
from tests.cluster.usage_reports.billed import AFTER_GRACE, NEXT_AFTER_GRACE, Billed, new_billed

EVENTS = 1_000
#: The price of a token changes here, in the middle of a day and of the period.
NEW_PRICE = datetime(2026, 4, 1, 10, tzinfo=UTC)
PRICES = ("0.000000123456789", "0.000000987654321")
#: The log of usage without duplicates, priced, by day, agent, model and kind.
INDEPENDENT = """
    SELECT day, agent, model, kind, sum(quantity), count(*), sum(cost)
    FROM (SELECT DISTINCT * FROM read_csv('{log}', all_varchar = false, types = {{'day': 'VARCHAR',
        'agent': 'VARCHAR', 'model': 'VARCHAR', 'quantity': 'HUGEINT', 'cost': 'DECIMAL(38, 15)'}}))
    GROUP BY ALL ORDER BY ALL
"""
REPORTED = """
    SELECT day, agent, model, kind, sum(quantity::HUGEINT), sum(events::HUGEINT)::BIGINT,
        sum(cost_usd::DECIMAL(38, 15))
    FROM read_csv('{reports}/*.csv', all_varchar = true) GROUP BY ALL ORDER BY ALL
"""


def raw_log(billed: Billed, seed: int) -> list[UsageEvent]:
    """Return events of both periods, near midnight, too, in random order."""
    chance = random.Random(seed)
    start = datetime(2026, 3, 15, 12, tzinfo=UTC)
    events = []
    for number in range(EVENTS):
        kind = chance.choice((EMBEDDING, EMBEDDING, REQUEST))
        at = start + timedelta(seconds=chance.randrange(58 * 86_400))
        if number % 5 == 0:
            at = at.replace(hour=chance.choice((18, 22, 23)), minute=chance.choice((0, 14, 15, 59)))
        events.append(
            UsageEvent(
                organisation=billed.id,
                id=f"use_{number}",
                source=chance.choice((UsageSource.HTTP, UsageSource.JOB)),
                kind=kind,
                model=chance.choice(("small", "large")) if kind == EMBEDDING else None,
                agent=chance.choice((None, "agent_1", "agent_2")),
                quantity=chance.randrange(1, 10**9),
                at=at,
            )
        )
    chance.shuffle(events)
    return events


def write_log(events: list[UsageEvent], time_zone: str, path: Path) -> None:
    """Write the events as CSV, with the day of the time zone and with the cost of each event."""
    lines = ["id,day,agent,model,kind,quantity,cost"]
    for event in events:
        assert event.at is not None
        day = event.at.astimezone(ZoneInfo(time_zone)).date()
        price = Decimal(PRICES[event.at >= NEW_PRICE])
        cost = f"{event.quantity * price:f}" if event.kind == EMBEDDING else ""
        names = f"{event.agent or ''},{event.model or ''},{event.kind}"
        lines.append(f"{event.id},{day},{names},{event.quantity},{cost}")
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("time_zone", ["Europe/Berlin", "Asia/Kathmandu"])
def test_final_reports_equal_duckdb_over_the_raw_log(
    pool: ConnectionPool, blobs: BlobStore, tmp_path: Path, time_zone: str
) -> None:
    """3% of the events arrive after the first final report, and 2% arrive twice."""
    billed = new_billed(pool, blobs, time_zone=time_zone)
    maker = replace(billed.maker, roll_up=partial(compute_days, pool))
    events = raw_log(billed, seed=14)
    duplicates, late = events[:40], events[40:100]
    with billed.opener() as connection:
        for number, price in enumerate(PRICES):
            begin = NEW_PRICE if number else datetime(2026, 1, 1, tzinfo=UTC)
            new = UsagePrice(organisation=billed.id, kind=EMBEDDING, price=Decimal(price), valid_from=begin)
            set_price(connection, new, operator=billed.id, retroactive=True)
        record_usage(connection, [*events[100:], *duplicates])
    first = next(maker.make_due(billed.id, AFTER_GRACE))
    with billed.opener() as connection:
        record_usage(connection, [*duplicates, *late])
    (second,) = maker.make_due(billed.id, NEXT_AFTER_GRACE)
    assert (first.state, second.state) == ("final", "final")
    assert first.adjustment_lines == 0
    assert second.adjustment_lines
    write_log([*events, *duplicates], time_zone, tmp_path / "log")
    for report in (first, second):
        (tmp_path / f"{report.id}.csv").write_bytes(billed.csv(report))
    independent = duckdb.sql(INDEPENDENT.format(log=tmp_path / "log")).fetchall()
    reported = duckdb.sql(REPORTED.format(reports=tmp_path)).fetchall()
    assert len(independent) > 300
    assert reported == independent
