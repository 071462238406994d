"""Usage events: what was used, for bills. Every path that embeds records them here, with a job or without one.

record(connection, [UsageEvent(organisation="acme", id=event_id("embedding", work), source=UsageSource.HTTP, model=name, quantity=12)])
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.records import digest

SQL = queries("cluster.organisations", "usage.sql")

#: Kinds of work.
EMBEDDING, RERANKING = "embedding", "reranking"


class UsageSource(StrEnum):
    """What asked for the work."""

    #: A request to the endpoint for vectors or for a ranking.
    HTTP = "http"
    #: A search of a vector store.
    SEARCH = "search"
    #: A bulk ingest.
    INGEST = "ingest"
    #: A job of the queue.
    JOB = "job"


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageEvent:
    """A piece of work that an organisation pays for."""

    organisation: str
    #: The same work has the same id, and is counted once.
    id: str
    source: UsageSource
    #: Name of the model that computed it.
    model: str
    quantity: int
    kind: str = EMBEDDING
    unit: str = "tokens"
    job: str | None = None


def event_id(kind: str, work: str) -> str:
    """Id of the event for the work that ``work`` names by its content."""
    return f"use_{digest(kind, work)}"


def record(connection: Connection[Any], events: Iterable[UsageEvent]) -> None:
    """Write the events, in the caller's transaction; those that are there already stay as they are."""
    with connection.cursor() as cursor:
        cursor.executemany(SQL["record"], [asdict(event) for event in events])
