"""Organisations in four time zones with generated events and usage, whose roll-ups DuckDB computes, too.

rolled = RolledPlatform(pool, folder, options, zone="Asia/Kolkata")
rolled.insert_usage()
rolled.wrong()                # [] if every roll-up is what DuckDB computes from the raw log
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from cluster.analytics.measures import MEASURES
from cluster.organisations.organisations import ensure_organisation
from cluster.usage.events import UsageEvent, UsageSource, record_usage
from data_jobs.platform_data.invented_platform import InventedPlatformOptions, invent
from data_jobs.platform_data.sent_events import sent_events
from data_jobs.platform_data.write_events import write_file
from tests.duckdb_rollups import DuckdbRollups, RawPrice, RawUsage, differences

#: Two of the zones change to daylight-saving time in March, and two have no whole number of hours.
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu")
KINDS = ("embedding", "request", "provider_embedding")
MODELS = ("small", "large", None)


class RolledPlatform:
    """An organisation with a log of events in a file, and with a log of usage."""

    def __init__(
        self,
        pool: ConnectionPool,
        folder: Path,
        options: InventedPlatformOptions,
        *,
        zone: str,
        usage: int,
    ) -> None:
        self.organisation, self.zone = f"org-{uuid4().hex[:12]}", zone
        self._pool = pool
        self.platform = invent(options)
        self.log = folder / f"{self.organisation}.jsonl"
        write_file(self.log, sent_events(self.platform))
        self.usage = list(_usage(options, usage))
        middle = options.start.replace(minute=0, second=0) + timedelta(days=options.days // 2)
        self.prices = [
            RawPrice("embedding", None, "0.00000002", options.start, middle),
            RawPrice("embedding", None, "0.00000003", middle, None),
            RawPrice("embedding", "large", "0.000000131", options.start, None),
            RawPrice("request", None, "0.0001", middle, None),
        ]
        with pool.connection() as connection:
            ensure_organisation(connection, self.organisation)
            connection.execute(
                "UPDATE organisations SET time_zone = %s WHERE id = %s", [zone, self.organisation]
            )

    def insert_usage(self, begin: int, end: int) -> None:
        """Record some lines of the log of usage."""
        events = [
            UsageEvent(
                organisation=self.organisation,
                id=one.id,
                source=UsageSource(one.source),
                model=one.model,
                quantity=one.quantity,
                kind=one.kind,
                cost=None if one.cost is None else Decimal(one.cost),
                agent=one.agent,
                at=one.at,
            )
            for one in self.usage[begin:end]
        ]
        with self._pool.connection() as connection:
            record_usage(connection, events)

    def insert_price(self, place: int) -> None:
        """Set one of the prices."""
        with self._pool.connection() as connection:
            connection.execute(
                "INSERT INTO usage_prices (organisation, kind, model, price, valid_from, valid_to)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [self.organisation, *self.prices[place]],
            )

    def wrong(self) -> list[str]:
        """Compare all four roll-ups with DuckDB; return a line for each difference."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "SELECT settled_through FROM analytics_progress WHERE organisation = %s", [self.organisation]
            ).fetchone()
        assert row is not None
        duckdb = DuckdbRollups(
            events=self.log, usage=self.usage, prices=self.prices, zone=self.zone, settled=row[0]
        )
        found = []
        for grain, suffix in (("hour", "hourly"), ("day", "daily")):
            expected = duckdb.platform(grain)
            assert expected
            found += differences(expected, self._stored(f"agent_{suffix}", grain))
            found += self._wrong_usage(f"usage_{suffix}", grain, duckdb)
        return found

    def _wrong_usage(self, table: str, grain: str, duckdb: DuckdbRollups) -> list[str]:
        with self._pool.connection() as connection:
            rows = connection.execute(
                f"SELECT {grain}, agent, model, source, kind, quantity, cost, events FROM {table}"
                " WHERE organisation = %s",
                [self.organisation],
            ).fetchall()
        expected, stored = duckdb.usage(grain), {row[:5]: row[5:] for row in rows}
        keys = sorted(expected.keys() | stored.keys(), key=str)
        return [
            f"{table} {key}: {stored.get(key)} is {expected.get(key)}"
            for key in keys
            if stored.get(key) != expected.get(key)
        ]

    def _stored(self, table: str, grain: str) -> list[dict[str, Any]]:
        with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            measures = ", ".join(f"rolled.{one}" for one in MEASURES)
            return cursor.execute(
                f"SELECT {grain} AS bucket, agents.external_id AS who, {measures}"
                f" FROM {table} AS rolled LEFT JOIN agents ON (agents.organisation, agents.id) ="
                " (rolled.organisation, rolled.agent) WHERE rolled.organisation = %s",
                [self.organisation],
            ).fetchall()


def _usage(options: InventedPlatformOptions, count: int) -> Iterator[RawUsage]:
    """Draw usage: random times in the period, and 2% of the lines twice."""
    draw = np.random.Generator(np.random.PCG64(options.seed))
    at = draw.integers(0, options.days * 86_400, count).tolist()
    kind, model, agent = (draw.integers(0, size, count).tolist() for size in (len(KINDS), len(MODELS), 3))
    quantity = draw.integers(1, 10_000, count).tolist()  # an event with the quantity 0 is not recorded
    start = options.start.astimezone(UTC)
    lines = [
        RawUsage(
            id=f"use_{number}",
            at=start + timedelta(seconds=at[number]),
            kind=KINDS[kind[number]],
            model=MODELS[model[number]],
            agent=None if agent[number] == 0 else f"agent_{agent[number]}",
            source=("job", "http", "search")[number % 3],
            quantity=quantity[number],
            cost=f"{quantity[number]}.000000000001" if KINDS[kind[number]] == "provider_embedding" else None,
        )
        for number in range(count)
    ]
    again = draw.integers(0, count, count // 50).tolist()
    yield from lines
    yield from (lines[number] for number in again)


def start_before_daylight_saving() -> datetime:
    """A start such that the clocks of New York and Berlin change in the 30 days after it."""
    return datetime(2026, 3, 4, tzinfo=UTC)
