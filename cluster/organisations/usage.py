"""Usage events: the work that each organisation used, for bills.

Every path that embeds or reranks calls ``record_usage``: requests and searches
(``serve_app.embedding.usage``), the bulk ingest and the jobs (``data_jobs.stages.write``). It needs no job.

    id = event_id(EMBEDDING, work)
    event = UsageEvent(organisation="acme", id=id, source=UsageSource.HTTP, model=name, quantity=12)
    record_usage(connection, [event])
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
    """The path by which the work was asked for."""

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
    #: The same work has the same id, and counts once.
    id: str
    source: UsageSource
    #: Name of the model that did the work.
    model: str
    #: Amount of work, in ``unit``.
    quantity: int
    kind: str = EMBEDDING
    unit: str = "tokens"
    #: Id of the job that did the work; None: no job did.
    job: str | None = None


def event_id(kind: str, work: str) -> str:
    """Id of the event for work of this kind.

    Args:
        work: names the work by its content, so that the same work repeated has the same id.
    """
    return f"use_{digest(kind, work)}"


def record_usage(connection: Connection[Any], events: Iterable[UsageEvent]) -> None:
    """Write the events in the caller's transaction. Events with a known id stay as they are.

    Raises:
        ForeignKeyViolation: an event names an organisation that does not exist.
    """
    with connection.cursor() as cursor:
        cursor.executemany(SQL["record"], [asdict(event) for event in events])
