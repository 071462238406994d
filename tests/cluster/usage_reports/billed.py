"""An organisation with daily roll-ups, whose reports a test makes."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.blobs import BlobStore
from cluster.organisations.rows import OrganisationOptions, create_organisation
from cluster.usage_reports.making import ReportMaker
from cluster.usage_reports.reports import UsageReport
from cluster.usage_reports.requests import request_report
from cluster.usage_reports.stored_files import read_file

GRACE_DAYS = 3
#: The first day of usage, and instants of the tests by name.
FIRST = date(2026, 3, 15)
IN_PERIOD = datetime(2026, 4, 1, 12, tzinfo=UTC)
IN_GRACE = datetime(2026, 4, 16, 12, tzinfo=UTC)
AFTER_GRACE = datetime(2026, 4, 18, 12, tzinfo=UTC)
NEXT_AFTER_GRACE = datetime(2026, 5, 18, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Billed:
    """An organisation, and what a test does with it."""

    id: str
    pool: ConnectionPool
    blobs: BlobStore

    @contextmanager
    def opener(self) -> Iterator[Connection[Any]]:
        with self.pool.connection() as connection, connection.transaction():
            yield connection

    def roll_up(self, day: date, quantity: int, cost: str | None = None, **about: Any) -> None:
        """Add usage to the daily roll-ups, as the roll-up of late events does."""
        values = {"agent": None, "model": "m", "kind": "embedding", "source": "http", "events": 1, **about}
        with self.opener() as connection:
            connection.execute(
                "INSERT INTO usage_daily"
                " (organisation, day, agent, model, source, kind, quantity, cost, events)"
                " VALUES (%(organisation)s, %(day)s, %(agent)s, %(model)s, %(source)s, %(kind)s,"
                " %(quantity)s, %(cost)s, %(events)s)"
                " ON CONFLICT (organisation, day, kind, source, agent, model) DO UPDATE"
                " SET quantity = usage_daily.quantity + excluded.quantity,"
                " events = usage_daily.events + excluded.events, cost = usage_daily.cost + excluded.cost",
                {**values, "organisation": self.id, "day": day, "quantity": quantity, "cost": cost},
            )

    @property
    def maker(self) -> ReportMaker:
        """Makes reports from the roll-ups that the test has written."""
        return ReportMaker(
            opener=self.opener, blobs=self.blobs, roll_up=lambda _: None, grace_days=GRACE_DAYS
        )

    def due(self, now: datetime) -> list[UsageReport]:
        return list(self.maker.make_due(self.id, now))

    def report(self, period: str, now: datetime, *, with_pdf: bool = True) -> UsageReport:
        """The report that a person requests at this time."""
        with self.opener() as connection:
            report = request_report(
                connection, self.id, period=period, with_pdf=with_pdf, grace_days=GRACE_DAYS, now=now
            )
        return self.maker.make_requested(report, now)

    def csv(self, report: UsageReport) -> bytes:
        return read_file(self.blobs, report, pdf=False)

    def pdf(self, report: UsageReport) -> bytes:
        return read_file(self.blobs, report, pdf=True)


def new_billed(
    pool: ConnectionPool, blobs: BlobStore, *, time_zone: str = "Europe/Berlin", billing_day: int = 15
) -> Billed:
    """An organisation that was created on the first day of usage."""
    id = f"org-{uuid4().hex[:12]}"
    options = OrganisationOptions(name="Zürich & Söhne", time_zone=time_zone, billing_day=billing_day)
    with pool.connection() as connection:
        create_organisation(connection, id, options)
        connection.execute(
            "UPDATE organisations SET created_at = %s WHERE id = %s", [datetime(2026, 3, 16, tzinfo=UTC), id]
        )
    return Billed(id, pool, blobs)


def much_usage(billed: Billed, *, seed: int, days: int = 31, agents: int = 3) -> None:
    """Usage of every day of the first period, with costs of up to twelve decimals."""
    chance = random.Random(seed)
    for number in range(days):
        day = FIRST + timedelta(days=number)
        for agent in [None, *(f"agent_{one}" for one in range(agents))]:
            tokens = chance.randrange(10**9)
            price = Decimal(chance.randrange(1, 10**6)) / 10**12
            billed.roll_up(day, tokens, str(tokens * price), agent=agent, events=chance.randrange(1, 99))
            billed.roll_up(day, chance.randrange(10**4), agent=agent, kind="request", model=None)
