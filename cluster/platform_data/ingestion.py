"""Inserts checked events, and keeps agents, customers, conversations and messages in step with them.

``POST /v1/events`` calls ``ingest`` in its transaction. Commands and jobs with many events call
``ingest_rows``, which copies the rows into a temporary table first and then runs the same statement. An event
that is in the database already is not inserted again. Events may arrive in any order: the time of an event
decides which value a row keeps. Only the agent, the customer and the channel of a conversation are those that
arrive first.

    ingested = ingest(connection, "acme", events)
    ingested.accepted, ingested.duplicates
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.platform_data.read_events import EventFault, PlatformEvent
from cluster.text.well_formed import json_bytes

SQL = queries("cluster.platform_data", "ingestion.sql")
INGEST_JSON = SQL["ingest"].replace("{given}", SQL["given_as_json"].replace("{columns}", SQL["columns"]))
INGEST_STAGED = SQL["ingest"].replace("{given}", SQL["given_in_stage"])
MAKE_STAGE = SQL["make_stage"].replace("{columns}", SQL["columns"])
ERASED = (
    "names a customer that is being erased, or was erased after this event happened, so the event is "
    "refused; events that happen after the erasure are accepted"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestedEvents:
    """The counts of one call of ``ingest``."""

    accepted: int
    duplicates: int
    #: The events that are refused because their customer was erased.
    faults: list[EventFault]


def ingest(connection: Connection[Any], organisation: str, events: Sequence[PlatformEvent]) -> IngestedEvents:
    """Insert the events with one statement, in the caller's transaction."""
    distinct = {(event.source, event.id): event for event in reversed(events)}
    if not distinct:
        return IngestedEvents(accepted=0, duplicates=0, faults=[])
    share_with_erasures(connection, organisation)
    rows = [{"number": event.index, **event.values} for event in distinct.values()]
    values = {"organisation": organisation, "rows": json_bytes(rows).decode()}
    accepted, refused = _insert(connection, INGEST_JSON, values)
    by_index = {event.index: event for event in distinct.values()}
    faults = [_erased_fault(index, by_index[index].id) for index in refused]
    return IngestedEvents(accepted=accepted, duplicates=len(events) - accepted - len(faults), faults=faults)


def ingest_rows(
    connection: Connection[Any], organisation: str, rows: Iterable[bytes]
) -> tuple[int, list[EventFault]]:
    """Insert checked events from CSV, in the caller's transaction. For thousands of events, this is faster
    than ``ingest``.

    Args:
        rows: parts of a CSV text without a header, in the form of ``event_csv``. No two rows have the same
            source and id.

    Returns:
        The number of events that were new, and the faults of the refused events, each with the number of its
        row as index. An event is refused if its customer was erased after the event happened.
    """
    share_with_erasures(connection, organisation)
    connection.execute(MAKE_STAGE)
    with connection.cursor() as cursor, cursor.copy(SQL["stage"]) as copy:
        for part in rows:
            copy.write(part)
    accepted, refused = _insert(connection, INGEST_STAGED, {"organisation": organisation})
    found = connection.execute(SQL["ids_in_stage"], {"numbers": refused}).fetchall() if refused else []
    return accepted, [_erased_fault(number, id) for number, id in found]


def _erased_fault(index: int, id: str) -> EventFault:
    return EventFault(index=index, id=id, field="subject", message=ERASED)


def share_with_erasures(connection: Connection[Any], organisation: str) -> None:
    """Take the lock that orders this transaction and an erasure: either the erasure waits for this
    transaction, or this transaction waits and then sees the erasure.
    """
    connection.execute(SQL["share_with_erasures"], {"organisation": organisation})


def _insert(connection: Connection[Any], statement: str, values: dict[str, str]) -> tuple[int, Sequence[int]]:
    row = connection.execute(statement, values).fetchone()
    assert row is not None, "the statement returns one row"
    return row[0], sorted(row[1])
