"""Insert checked rows of given vectors into a vector store.

    ahead = write_ahead(index, store, rows)
    with connection.transaction():
        written = insert(connection, index, store, ahead)
    index.settle(store.organisation, store.id)

``write_ahead`` writes to an external index and does nothing for vectors in our Postgres. The ids are those of
the rows, so a repeated call changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.documents.given_vectors.given_rows import FaultKind, GivenRow, RowFault, chunk_records
from cluster.documents.indexing import Ahead, ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import Conflict, Misconfigured, NotFound, Permanent
from cluster.vector_index.contract import Written

SQL = queries("cluster.documents.given_vectors", "insert.sql")

#: Errors about the store, the index or the settings. They are not about single rows.
NOT_OF_ROWS = (Conflict, Misconfigured, NotFound)


@dataclass(frozen=True, kw_only=True, slots=True)
class AheadOfRows:
    """Rows whose vectors an external index has stored, and those that it refused."""

    rows: Sequence[GivenRow]
    refused: Sequence[RowFault]
    #: None if the vectors are in our Postgres.
    ahead: Ahead | None


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


def write_ahead(index: ChunkIndex, store: VectorStore, rows: Sequence[GivenRow]) -> AheadOfRows:
    """Write the vectors of the rows to an external index. Call it outside any transaction.

    Raises:
        Retryable: the index does not answer, or asks for fewer requests.
        Permanent: the index refuses all rows for a reason that is not about single rows.
    """
    refused: dict[str, str] = {}
    while True:
        kept = [row for row in rows if row.id not in refused]
        try:
            ahead = index.write_ahead(
                store.organisation, store.id, chunk_records(kept), collection=store.collection
            )
            break
        except NOT_OF_ROWS:
            raise
        except Permanent as exc:
            at_fault = {row.id for row in kept}.intersection(exc.row_ids)
            if not at_fault:
                raise
            refused |= dict.fromkeys(at_fault, f"was refused by the vector index: {exc}")
    faults = [
        RowFault(row=row.row, id=row.id, kind=FaultKind.INDEX, message=refused[row.id])
        for row in rows
        if row.id in refused
    ]
    return AheadOfRows(rows=kept, refused=faults, ahead=ahead)


def insert(connection: Connection[Any], index: ChunkIndex, store: VectorStore, ahead: AheadOfRows) -> Written:
    """Store the rows in the caller's transaction. The store cannot be deleted until the transaction ends.

    Call ``touch_store`` before, not after, because two transactions that share the store's row and then
    change it would deadlock.

    Raises:
        NotFound: the store was deleted.
        Conflict: the store has expired.
        InvalidInput: with ``row_ids`` of rows that cannot be stored.
    """
    key = {"organisation": store.organisation, "id": store.id}
    found = connection.execute(SQL["share_store"], key).fetchone()
    if found is None:
        raise NotFound(f"no vector store {store.id!r}")
    if found[0]:
        raise Conflict(f"vector store {store.id!r} has expired; create a new one")
    return index.merge(
        connection,
        store.organisation,
        store.id,
        chunk_records(ahead.rows),
        store.collection,
        ahead.ahead,
        known={},
    )
