"""Inserts checked events, and keeps agents, customers, conversations and messages in step with them.

``POST /v1/events`` calls ``ingest`` in its transaction. An event that is in the database already, or twice in
one call, is inserted once. Events may arrive in any order: the time of an event decides which value a row
keeps. Only the agent, the customer and the channel of a conversation are those that arrive first.

    ingested = ingest(connection, "acme", events)
    ingested.accepted, ingested.duplicates
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.platform_data.read_events import EventFault, PlatformEvent
from cluster.text.well_formed import json_bytes

SQL = queries("cluster.platform_data", "ingestion.sql")
ERASED = (
    "names a customer that was erased after this event happened, so the event is refused; events that happen "
    "after the erasure are accepted"
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
    # An erasure waits for this transaction, or this transaction waits and then sees the erasure.
    connection.execute(SQL["share_with_erasures"], {"organisation": organisation})
    rows = [{"number": event.index, **event.values} for event in distinct.values()]
    row = connection.execute(
        SQL["ingest"], {"organisation": organisation, "rows": json_bytes(rows).decode()}
    ).fetchone()
    assert row is not None, "the statement returns one row"
    accepted, refused = row
    by_index = {event.index: event for event in distinct.values()}
    faults = [
        EventFault(index=index, id=by_index[index].id, field="subject", message=ERASED)
        for index in sorted(refused)
    ]
    return IngestedEvents(accepted=accepted, duplicates=len(events) - accepted - len(faults), faults=faults)
