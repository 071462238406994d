"""Sends events of customers to the platform's tables, for tests of profiles."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.platform_data.ids import row_id
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from cluster.profiles.selection import Selection

#: The time up to which facts count in the tests.
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
NUMBERS = count(1)

Event = dict[str, Any]


def event(customer: str, days: float, type: str, **data: Any) -> Event:
    """An event so many days before ``AS_OF``."""
    return {
        "id": str(next(NUMBERS)),
        "source": "/shop",
        "type": type,
        "time": (AS_OF - timedelta(days=days)).isoformat(),
        "subject": customer,
        "data": data,
    }


def send(connection: Connection[Any], organisation: str, events: Iterable[Event]) -> None:
    """Insert the events in the way of the route."""
    read, faults = read_events(organisation, list(events))
    assert not faults
    ingest(connection, organisation, read)


def cust(organisation: str, name: str) -> str:
    """Id of the customer."""
    return row_id("cust", organisation, name)


def selection(organisation: str, **options: Any) -> Selection:
    """The customers of the organisation at ``AS_OF``."""
    return Selection(organisation=organisation, as_of=AS_OF, **options)


def profiles(pool: ConnectionPool, organisation: str) -> dict[str, dict[str, Any]]:
    """Attributes of each profile, by the customer."""
    with pool.connection() as connection:
        rows = connection.execute(
            "SELECT customer, attributes FROM customer_profiles WHERE organisation = %s", [organisation]
        )
        return dict(rows.fetchall())
