"""Make the usage events of documents, chunks and batches. The ids of the events are made from the work, so
repeated work counts once.

Called in the transaction that finishes the work:

    work = f"{store.id}/{document}/{content_hash}/{version}/{job.id}"
    done = DocumentWork(tokens=900, pages=3, chunks=4)
    events = document_usage("acme", work, done, source=UsageSource.JOB, model="m", job=job.id)
    record_usage(connection, events)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.usage.events import CHUNK, EMBEDDING, PAGE, REQUEST, UsageEvent, UsageSource, event_id


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentWork:
    """The work for one document."""

    #: Number of tokens that the model read.
    tokens: int
    #: Number of pages that were parsed.
    pages: int
    #: Number of chunks that are new in the store, or have changed.
    chunks: int


def document_usage(
    organisation: str, work: str, done: DocumentWork, *, source: UsageSource, model: str, job: str
) -> list[UsageEvent]:
    """Return the events of one document.

    Args:
        work: identifies the document, its content and the job. The ids of the events are made from this text.
    """
    quantities = {EMBEDDING: done.tokens, PAGE: done.pages, CHUNK: done.chunks}
    return [
        UsageEvent(
            organisation=organisation,
            id=event_id(kind, work),
            source=source,
            kind=kind,
            model=model if kind == EMBEDDING else None,
            quantity=quantity,
            job=job,
        )
        for kind, quantity in quantities.items()
    ]


def chunk_usage(
    organisation: str,
    work: str,
    chunks: int,
    *,
    source: UsageSource,
    job: str | None = None,
    key: str | None = None,
) -> UsageEvent:
    """Return the event of chunks that were written without an embedding, such as given or copied vectors.

    Args:
        work: identifies the transaction that writes the chunks. A repeated transaction writes no chunk again.
        chunks: number of chunks that are new in the store, or have changed.
    """
    return UsageEvent(
        organisation=organisation,
        id=event_id(CHUNK, work),
        source=source,
        kind=CHUNK,
        model=None,
        quantity=chunks,
        job=job,
        key=key,
    )


def batch_usage(
    organisation: str, work: str, *, tokens: Mapping[str, int], requests: Mapping[str, int], job: str | None
) -> list[UsageEvent]:
    """Return the events of some requests of a batch.

    Args:
        work: identifies the requests.
        tokens: for each model, by name, the number of tokens that the model read.
        requests: for each model, by name, the number of requests that the model answered.
    """
    return [
        UsageEvent(
            organisation=organisation,
            id=event_id(kind, f"{work}/{model}"),
            source=UsageSource.BATCH,
            kind=kind,
            model=model,
            quantity=quantity,
            job=job,
        )
        for kind, quantities in ((EMBEDDING, tokens), (REQUEST, requests))
        for model, quantity in quantities.items()
    ]
