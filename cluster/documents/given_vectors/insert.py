"""Insert checked rows of given vectors into a vector store.

    ahead = write_ahead(index, store, rows)
    with connection.transaction():
        written = insert(connection, index, store, ahead, AskedBy(work=request_id))
    index.settle(store.organisation, store.id)

``write_ahead`` prepares the rows, and writes their vectors if the index of the store is external. A chunk has
the same id as its row, so a repeated call changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database import translated
from cluster.database.queries import queries
from cluster.documents.chunks import chunk_store
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.given_vectors.faults import FaultKind, RowFault
from cluster.documents.given_vectors.given_rows import GivenRows
from cluster.documents.given_vectors.stored_rows import accepted_rows, chunk_records, new_rows
from cluster.documents.indexing import Ahead, ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import Conflict, Misconfigured, NotFound, Permanent, QuotaExceeded
from cluster.usage.events import UsageSource, record_usage
from cluster.usage.work import chunk_usage
from cluster.vector_index.contract import Written

SQL = queries("cluster.documents.given_vectors", "insert.sql")

#: Errors whose cause is the store, the index, the settings or a quota, and not a single row.
NOT_OF_ROWS = (Conflict, Misconfigured, NotFound, QuotaExceeded)


@dataclass(frozen=True, kw_only=True, slots=True)
class AheadOfRows:
    """Rows that are ready for ``insert``, and the faults of rows that an external index has refused."""

    #: The rows that were passed to ``write_ahead``.
    rows: GivenRows
    refused: Sequence[RowFault]
    #: The chunks to store, without the rows that an external index has refused; empty if the vectors are in
    #: our Postgres.
    records: Sequence[ChunkRecord] = ()
    #: The rows in the binary format of ``COPY``; None if a row has a text, or if the index is external.
    new: bytes | None = None
    #: The vectors that were written to the external index; None if the vectors are in our Postgres.
    ahead: Ahead | None = None


def require_given(store: VectorStore) -> VectorStore:
    """Return the store if it holds given vectors.

    Raises:
        Conflict: a model computes the store's vectors.
    """
    if not store.fingerprint.given:
        raise Conflict(
            f"vector store {store.id!r} holds vectors of the model {store.fingerprint.model}, so it takes "
            'files and no given vectors; create a store with "embedding_model": "none" and `dimensions`'
        )
    return store


def write_ahead(index: ChunkIndex, store: VectorStore, rows: GivenRows) -> AheadOfRows:
    """Prepare the rows. If the index is external, also write the vectors to the index. Call this function
    outside any transaction.

    Raises:
        Retryable: the index does not answer, or asks for fewer requests.
        Permanent: the index refuses all rows for a reason that is not about single rows.
    """
    if index.external is None:
        return AheadOfRows(rows=rows, refused=(), new=new_rows(store.organisation, store.id, rows))
    refused: dict[str, str] = {}
    records = chunk_records(rows)
    while True:
        records = [record for record in records if record.id not in refused]
        try:
            ahead = index.write_ahead(store.organisation, store.id, records, collection=store.collection)
            break
        except NOT_OF_ROWS:
            raise
        except Permanent as exc:
            at_fault = {record.id for record in records}.intersection(exc.row_ids)
            if not at_fault:
                raise
            refused |= dict.fromkeys(at_fault, f"was refused by the vector index: {exc}")
    faults = [
        RowFault(row=number, id=id, kind=FaultKind.INDEX, message=refused[id])
        for number, id in zip(rows.numbers, rows.ids, strict=True)
        if id in refused
    ]
    return AheadOfRows(rows=rows, refused=faults, records=records, ahead=ahead)


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedBy:
    """The request or the job that inserts rows."""

    #: Identifies the insertion. The id of the usage event is made from this text.
    work: str
    #: Id of the job; None if a request inserts the rows.
    job: str | None = None
    #: Id of the API key of the request; None if the request has no key of an organisation.
    key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inserted:
    """The result of one call of ``insert``."""

    written: Written
    #: True if all rows were new and were inserted by ``COPY``.
    copied: bool = False


def insert(
    connection: Connection[Any],
    index: ChunkIndex,
    store: VectorStore,
    ahead: AheadOfRows,
    asked: AskedBy,
    *,
    probably_new: bool = False,
) -> Inserted:
    """Store the rows in the caller's transaction, and record the written rows as usage. The store cannot be
    deleted until the transaction ends.

    Call ``touch_store`` before this function and not after it, because two transactions that hold a share
    lock on the store's row and then change the row would deadlock.

    Args:
        asked: the request or the job that inserts the rows.
        probably_new: True to try ``COPY`` first. ``COPY`` is much faster if all rows are new. If a row is
            stored already, the attempt is lost time.

    Raises:
        NotFound: the store was deleted.
        Conflict: the store has expired.
        InvalidInput: some rows cannot be stored; their ids are in ``row_ids``.
    """
    key = {"organisation": store.organisation, "id": store.id}
    found = connection.execute(SQL["share_store"], key).fetchone()
    if found is None:
        raise NotFound(f"no vector store {store.id!r}")
    if found[0]:
        raise Conflict(f"vector store {store.id!r} has expired; create a new one")
    done = _stored(connection, index, store, ahead, probably_new=probably_new)
    event = chunk_usage(
        store.organisation,
        asked.work,
        done.written.written,
        source=UsageSource.HTTP if asked.job is None else UsageSource.JOB,
        job=asked.job,
        key=asked.key,
    )
    record_usage(connection, [event])
    return done


def _stored(
    connection: Connection[Any],
    index: ChunkIndex,
    store: VectorStore,
    ahead: AheadOfRows,
    *,
    probably_new: bool,
) -> Inserted:
    place, collection = (store.organisation, store.id), store.collection
    if index.external is not None:
        merged = index.merge(connection, *place, ahead.records, collection, ahead.ahead, known={})
        return Inserted(written=merged)
    with translated():
        if (
            probably_new
            and ahead.new is not None
            and chunk_store.insert_new(connection, ahead.new, collection=collection)
        ):
            return Inserted(written=Written(written=len(ahead.rows)), copied=True)
        accepted = accepted_rows(ahead.rows)
        count = chunk_store.merge(connection, *place, accepted, collection=collection, kept=())
    return Inserted(written=Written(written=count, unchanged=len(accepted) - count))
