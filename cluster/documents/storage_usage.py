"""Measure once a day how many bytes and vectors each organisation stores, and record this as usage.

Called by the job ``measure_storage``, which runs every hour. The first measurement of a day in UTC counts, so
an outage of some hours loses no day. A later job measures only organisations without an event for the day.

    measured = record_storage(connection)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL as Statement
from psycopg.sql import Identifier

from cluster.database.queries import queries
from cluster.usage.events import (
    STORED_BYTES,
    STORED_VECTORS,
    UsageEvent,
    UsageSource,
    event_id,
    record_usage,
)
from cluster.vector_index.collections import table_name

SQL = queries("cluster.documents", "storage_usage.sql")


def record_storage(connection: Connection[Any]) -> int:
    """Measure each organisation without a measurement of this day, and return the number of organisations
    whose events this call wrote. Organisations that store nothing get no event.
    """
    (day,) = connection.execute(SQL["today_of_all"]).fetchone() or (None,)
    assert isinstance(day, datetime)
    counted: dict[str, Mapping[str, int]] = {}
    for kind, measure in ((STORED_BYTES, _bytes), (STORED_VECTORS, _vectors)):
        owners = [
            id for (id,) in connection.execute(SQL["unmeasured_of_all"], {"event": _id(kind, day)}).fetchall()
        ]
        counted[kind] = measure(connection, owners)
    with connection.transaction():
        for kind, quantities in counted.items():
            record_usage(connection, [_event(kind, owner, quantities[owner], day) for owner in quantities])
    return len({owner for quantities in counted.values() for owner in quantities})


def _event(kind: str, owner: str, quantity: int, day: datetime) -> UsageEvent:
    return UsageEvent(
        organisation=owner,
        id=_id(kind, day),
        source=UsageSource.STORAGE,
        kind=kind,
        model=None,
        quantity=quantity,
        at=day,
    )


def _id(kind: str, day: datetime) -> str:
    return event_id(kind, f"{day:%Y-%m-%d}")


def _bytes(connection: Connection[Any], owners: Sequence[str]) -> Mapping[str, int]:
    return dict(connection.execute(SQL["bytes_of_all"], {"owners": owners}).fetchall())


def _vectors(connection: Connection[Any], owners: Sequence[str]) -> Mapping[str, int]:
    """Count the vectors in all collections. A vector in an external index has a row in the same tables."""
    sums: Counter[str] = Counter()
    for (collection,) in connection.execute(SQL["collections_of_all"]).fetchall():
        statement = Statement(SQL["vectors_of_all"]).format(table=Identifier(table_name(collection)))
        sums.update(dict(connection.execute(statement, {"owners": owners}).fetchall()))
    return sums
