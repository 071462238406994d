"""Record the batches that a provider's Batch API computes, and the chunks of a vector store that these
batches embed.

First, a vector for a chunk is asked for. Then the chunk is put into a batch. Then the chunk gets an answer,
which is a vector or an error. A batch is recorded with its inputs before anything is sent, so a process may
be killed at any moment. ``data_jobs.bulk.provider_batches`` and the stage ``TakeVectors`` call this module.

    ask(connection, store, document, [BatchInput(id="chk_1", text="Herons stand still.", tokens=5)])
    batch = seal(connection, store, BatchLimits(inputs=50_000, bytes=200_000_000))
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import class_row

from cluster.database.queries import queries
from cluster.documents.vector_stores.stores import VectorStore
from cluster.records import digest

#: Maximum number of batches that may end without an answer to the same input.
MAX_ATTEMPTS = 5
GIVEN_UP = f"the provider ended {MAX_ATTEMPTS} batches without an answer to this chunk"


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchInput:
    """A chunk that needs a vector."""

    #: Id of the chunk.
    id: str
    text: str
    #: Number of tokens, as this project counts them.
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchAnswer:
    """The answer to one input: a vector or an error."""

    id: str
    #: (dim,) float32, unit length.
    vector: NDArray[np.float32] | None = None
    #: The reason why this input can have no vector.
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimits:
    """The limits on the size of one batch."""

    #: Maximum number of inputs.
    inputs: int
    #: Maximum number of bytes of the inputs' lines in all.
    bytes: int
    #: Maximum number of tokens; None: no limit.
    tokens: int | None = None
    #: Number of bytes of an input's line without its text.
    line_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderBatch:
    """A recorded batch of inputs. The provider may have received the batch already."""

    #: Our id of the batch. The provider stores it in the metadata of its batch.
    id: str
    #: Number of the batch among the batches of its store, from 1.
    number: int
    inputs: int
    #: Number of tokens of the inputs, as this project counts them.
    tokens: int
    #: Id of the batch at the provider; None if this project does not know whether the provider has the batch.
    provider_id: str | None
    #: The provider's status; ``sealed`` until the provider has reported a status.
    status: str
    created_at: datetime


COLUMNS = ", ".join(field.name for field in fields(ProviderBatch))
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.documents.provider_batches", "provider_batches.sql").items()
}


def answers(connection: Connection[Any], store: VectorStore, document: str) -> dict[str, BatchAnswer]:
    """Return an entry for each chunk of the document for which a vector was asked. If the chunk has no answer
    yet, its entry has neither a vector nor an error.
    """
    rows = connection.execute(SQL["answers"], {**_key(store), "document": document}).fetchall()
    return {
        id: BatchAnswer(
            id=id, vector=None if vector is None else np.frombuffer(vector, np.float32), error=error
        )
        for id, vector, error in rows
    }


def ask(connection: Connection[Any], store: VectorStore, document: str, inputs: Iterable[BatchInput]) -> None:
    """Record that the document needs vectors for these inputs. A repeated call changes nothing."""
    with connection.cursor() as cursor:
        cursor.executemany(
            SQL["ask"],
            [
                {**_key(store), "document": document, "id": one.id, "text": one.text, "tokens": one.tokens}
                for one in inputs
            ],
        )


def seal(connection: Connection[Any], store: VectorStore, limits: BatchLimits) -> ProviderBatch | None:
    """Put waiting inputs into a new batch, and return the batch; None if no input waits.

    Commit the transaction before the batch is sent. The id of the batch is made from its number among the
    batches of the store and from its inputs. Call this function only while no other process seals batches of
    the store.
    """
    chosen = connection.execute(
        SQL["next_inputs"],
        {
            **_key(store),
            "max_inputs": limits.inputs,
            "max_bytes": limits.bytes,
            "max_tokens": limits.tokens,
            "line_bytes": limits.line_bytes,
        },
    ).fetchall()
    if not chosen:
        return None
    ids = [id for id, _ in chosen]
    (last,) = connection.execute(SQL["last_number"], _key(store)).fetchone() or (0,)
    values = {
        "batch": f"pb_{digest(store.organisation, store.id, str(last + 1), *ids, size=12)}",
        "number": last + 1,
        "inputs": len(ids),
        "tokens": sum(tokens for _, tokens in chosen),
    }
    with connection.cursor(row_factory=class_row(ProviderBatch)) as cursor:
        batch = cursor.execute(SQL["insert"], {**_key(store), **values}).fetchone()
    connection.execute(SQL["put_into"], {**_key(store), "batch": values["batch"], "ids": ids})
    return batch


def open_batches(connection: Connection[Any], store: VectorStore) -> list[ProviderBatch]:
    """Return the batches of the store that are not closed yet, the oldest first."""
    with connection.cursor(row_factory=class_row(ProviderBatch)) as cursor:
        return cursor.execute(SQL["open"], _key(store)).fetchall()


def texts(connection: Connection[Any], store: VectorStore, batch: ProviderBatch) -> Iterator[tuple[str, str]]:
    """Yield the id and the text of each input of the batch, always in the same order.

    The rows stay in the database until they are read, so memory stays small. Call this function in a
    transaction.
    """
    with connection.cursor(f"texts_of_{batch.id}") as cursor:
        yield from cursor.execute(SQL["texts"], {**_key(store), "batch": batch.id})


def record_submitted(
    connection: Connection[Any], store: VectorStore, batch: ProviderBatch, *, provider_id: str, status: str
) -> None:
    """Record that the provider has the batch."""
    values = {"batch": batch.id, "provider_id": provider_id, "status": status}
    connection.execute(SQL["submitted"], {**_key(store), **values})


def record_status(connection: Connection[Any], store: VectorStore, batch: ProviderBatch, status: str) -> None:
    """Record the provider's status of an open batch."""
    connection.execute(SQL["status"], {**_key(store), "batch": batch.id, "status": status})


def record_answers(
    connection: Connection[Any], store: VectorStore, batch: ProviderBatch, found: Iterable[BatchAnswer]
) -> None:
    """Record answers to inputs of this batch. A repeated call changes nothing."""
    with connection.cursor() as cursor:
        cursor.executemany(
            SQL["answer"],
            [
                {
                    **_key(store),
                    "batch": batch.id,
                    "id": one.id,
                    "vector": None if one.vector is None else one.vector.tobytes(),
                    "error": one.error,
                }
                for one in found
            ],
        )


def close(
    connection: Connection[Any],
    store: VectorStore,
    batch: ProviderBatch,
    *,
    status: str,
    tokens_used: int | None = None,
    error: str | None = None,
) -> bool:
    """Record that the batch has ended, and let its inputs without an answer wait for another batch. After
    ``MAX_ATTEMPTS`` batches without an answer, an input gets an error instead.

    Args:
        tokens_used: number of tokens that the provider reports for the answers.
        error: the reason why the provider refused the whole batch. Such a batch does not count as an attempt
            at its inputs.

    Returns:
        False if the batch was closed before.
    """
    values = {**_key(store), "batch": batch.id}
    ended = {"status": status, "tokens_used": tokens_used, "error": error}
    if connection.execute(SQL["close"], {**values, **ended}).rowcount == 0:
        return False
    counted = {"counted": int(error is None), "max_attempts": MAX_ATTEMPTS, "given_up": GIVEN_UP}
    connection.execute(SQL["wait_again"], {**values, **counted})
    return True


def waiting_inputs(connection: Connection[Any], store: VectorStore) -> int:
    """Return the number of inputs that wait to be put into a batch."""
    (count,) = connection.execute(SQL["waiting"], _key(store)).fetchone() or (0,)
    return int(count)


def unanswered_documents(connection: Connection[Any], store: VectorStore) -> set[str]:
    """Return the ids of the documents with a chunk that has no answer yet."""
    return {document for (document,) in connection.execute(SQL["unanswered"], _key(store))}


def asking_documents(connection: Connection[Any], store: VectorStore) -> set[str]:
    """Return the ids of the documents that have recorded inputs."""
    return {document for (document,) in connection.execute(SQL["documents"], _key(store))}


def forget(connection: Connection[Any], store: VectorStore, documents: Collection[str]) -> None:
    """Delete the inputs of these documents, except inputs that are in an open batch."""
    connection.execute(SQL["forget"], {**_key(store), "documents": list(documents)})


def _key(store: VectorStore) -> dict[str, str]:
    return {"organisation": store.organisation, "store": store.id}


def total_inputs(batches: Sequence[ProviderBatch]) -> int:
    """Return the number of inputs in all of these batches."""
    return sum(batch.inputs for batch in batches)
