"""Usage events record the work that was done for each organisation, for billing.

All code that embeds or reranks calls ``record_usage``: requests and searches
(``serve_app.usage``), the bulk ingest and the jobs (``data_jobs.stages.write``). Work without a job
is recorded, too. In addition, the engine ``cluster.engines.openai`` records what the provider reports for
each request.

    id = event_id(EMBEDDING, work)
    event = UsageEvent(organisation="acme", id=id, source=UsageSource.HTTP, model=name, quantity=12)
    record_usage(connection, [event])
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.records import digest

SQL = queries("cluster.usage", "events.sql")

#: Kinds of work that a model does, in tokens.
EMBEDDING, RERANKING = "embedding", "reranking"
#: The kind of the events that record what a remote provider reported for one of our requests. The same tokens
#: are also in the events of the kind ``EMBEDDING``, so a sum must include only one of these two kinds.
PROVIDER_EMBEDDING = "provider_embedding"
#: Tokens that a chat model reads and writes. They are two kinds because most servers give them two prices.
CHAT_INPUT, CHAT_OUTPUT = "chat_input", "chat_output"
#: Requests to the endpoint, pages that were parsed, and chunks that were written.
REQUEST, PAGE, CHUNK = "request", "page", "chunk"
#: Bytes and vectors that an organisation stores on a day in UTC.
STORED_BYTES, STORED_VECTORS = "stored_bytes", "stored_vectors"
#: For each kind, the unit of ``UsageEvent.quantity``.
UNITS = {
    EMBEDDING: "tokens",
    RERANKING: "tokens",
    PROVIDER_EMBEDDING: "tokens",
    CHAT_INPUT: "tokens",
    CHAT_OUTPUT: "tokens",
    REQUEST: "requests",
    PAGE: "pages",
    CHUNK: "chunks",
    STORED_BYTES: "bytes",
    STORED_VECTORS: "vectors",
}


class UsageSource(StrEnum):
    """The way in which the work was requested."""

    #: A request to the endpoint for vectors or for a ranking.
    HTTP = "http"
    #: A search of a vector store.
    SEARCH = "search"
    #: A bulk ingest.
    INGEST = "ingest"
    #: A job from the queue.
    JOB = "job"
    #: A request of ours to a remote provider.
    PROVIDER = "provider"
    #: A batch of requests in a file.
    BATCH = "batch"
    #: A chat with an agent.
    CHAT = "chat"
    #: What the organisation stores, measured once a day.
    STORAGE = "storage"


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageEvent:
    """A piece of work for which an organisation pays."""

    organisation: str
    #: An event that is written again has the same id, so it is counted once. If work may be repeated, the id
    #: is made from the work (``event_id``).
    id: str
    source: UsageSource
    #: Name of the model that did the work; None if no model did the work.
    model: str | None
    #: Amount of work, in the unit of the kind (``UNITS``).
    quantity: int
    #: Kind of the work, a key of ``UNITS``.
    kind: str = EMBEDDING
    #: Id of the job that did the work; None if no job did the work.
    job: str | None = None
    #: Price of the work at a remote provider, in US dollars. None if the price is not known, or no remote
    #: provider did the work.
    cost: Decimal | None = None
    #: Id of the API key that asked for the work. None if no key did; for the work of a job, None means the
    #: key that asked for the job.
    key: str | None = None
    #: Id of the platform's agent for which the work was done; None if it was done for no agent.
    agent: str | None = None
    #: When the work was done, with a time zone; None: now.
    at: datetime | None = None


def event_id(kind: str, work: str) -> str:
    """Return the id of the usage event for a piece of work.

    Args:
        work: identifies the work by its content, so repeated work has the same id.
    """
    return f"use_{digest(kind, work)}"


def record_usage(connection: Connection[Any], events: Iterable[UsageEvent]) -> None:
    """Write the events in the caller's transaction. An event whose id is already stored is not written again.
    An event with the quantity 0 is not written.

    Raises:
        ForeignKeyViolation: an event names an organisation that does not exist.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            SQL["record"],
            [{**asdict(event), "unit": UNITS[event.kind]} for event in events if event.quantity],
        )
