"""Indexing: make the chunks of documents current and write their vectors, in Postgres or an external index.

``ChunkIndex`` joins our chunk table (``chunks``) and one vector index (``cluster.vector_index``). A writer
makes three calls:

    ahead = index.write_ahead(organisation, store_id, chunks, collection=name)
    with connection.transaction():
        index.make_current(connection, organisation, store_id, document, chunks, collection=name, ahead=ahead)
        ...                                                  # the caller's own records
    index.settle(organisation, store_id)

If the vectors are in our Postgres, the transaction does everything, and the other two calls do nothing. For
an external index, ``write_ahead`` writes the new vectors. Ids come from content, so a repeated call changes
nothing. The transaction makes the new chunks current and puts the ids of old chunks into the outbox.
``settle`` empties the outbox, and a job also empties it each minute. Transactions and chunk deletions call no
external index.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents import outbox
from cluster.documents.chunks import chunk_search, chunk_store
from cluster.documents.chunks.chunk_ranking import Hit, Question
from cluster.documents.chunks.chunk_rows import ROWS_PER_TRANSACTION, ChunkRecord, accepted, batches
from cluster.documents.chunks.chunk_words import renew_words
from cluster.errors import ClusterError, InvalidInput, Permanent
from cluster.vector_index import PGVECTOR
from cluster.vector_index.collections import Collection, Metric, find_collection
from cluster.vector_index.contract import ExternalIndex, Mode, VectorIndex, VectorRecord, Written

log = structlog.get_logger(__name__)

#: Maximum seconds that a writer spends on the outbox after its write; a worker sends the remaining entries.
SETTLE_S = 5.0
#: Time limit for renewing older chunks after a bulk load; workers and the doctor renew the remaining chunks.
RENEWAL_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ahead:
    """Vectors that were written to an external index before their chunks become current."""

    #: Token of the vectors' reservation in the outbox.
    holder: str
    #: The attributes that were sent with each vector, by chunk id.
    attributes: Mapping[str, Mapping[str, Any]]


class ChunkIndex:
    """The chunks of vector stores with their vectors. Safe to call from several threads.

    Args:
        pool: connections to our Postgres.
        index: the index that stores the vectors.
        name: the index's name in ``vector_stores.index``.
    """

    def __init__(self, pool: ConnectionPool, index: VectorIndex, *, name: str = PGVECTOR) -> None:
        self._pool = pool
        #: The index that stores the vectors.
        self.vectors = index
        #: The same index if the index is external; otherwise None.
        self.external = None if index.capabilities.transactional else cast(ExternalIndex, index)
        self._collections: dict[str, Collection] = {}
        self.name = name

    def ensure(self, collection: str, *, dim: int, metric: Metric = "cosine") -> None:
        """Make the collection if it does not exist. Safe to repeat and to call concurrently.

        Raises:
            Conflict: the collection exists with another dimension or metric.
            InvalidInput: the name is not ``[a-z][a-z0-9_]{0,39}``, or dim is not in 1..16000.
        """
        with translated(), self._pool.connection() as connection:
            made = chunk_store.ensure_table(connection, collection, dim=dim, metric=metric)
        if self.external is not None:
            self.external.ensure(made)

    def write_ahead(
        self, organisation: str, store: str, rows: Sequence[ChunkRecord], *, collection: str
    ) -> Ahead | None:
        """Write the vectors of new chunks to an external index, and wait until searches see the vectors.

        Call this outside any transaction. Repeating the call changes nothing. Returns None if the vectors are
        in our Postgres.

        Raises:
            InvalidInput: chunks cannot be stored (their ids are in ``row_ids``); nothing is written.
            Permanent: the index did not store some vectors; their ids are in ``row_ids``.
            Retryable: the index does not answer, or vectors of these ids are being deleted there.
        """
        index = self.external
        if index is None:
            return None
        found, place = self.collection(collection), self._place(organisation, store, collection)
        distinct = accepted(rows, found, vectors_needed=False)
        attributes = {row.id: row.attributes for row in rows}
        records = [
            VectorRecord(id=id, attributes=attributes[id], vector=vector)
            for id, *_, vector in distinct
            if vector is not None
        ]
        ids = [record.id for record in records]
        with translated(), self._pool.connection() as connection, connection.transaction():
            holder = outbox.reserve(connection, place, ids)
        try:
            if records:
                index.upsert(organisation, store, records, collection=found).require_all()
                index.wait_visible(organisation, store, ids, collection=found)
        except Permanent:
            with translated(), self._pool.connection() as connection:
                outbox.give_up(connection, place, holder)
            raise
        return Ahead(holder=holder, attributes={id: attributes[id] for id in ids})

    def make_current(
        self,
        connection: Connection[Any],
        organisation: str,
        store: str,
        document: str,
        rows: Sequence[ChunkRecord],
        *,
        collection: str,
        ahead: Ahead | None = None,
    ) -> Written:
        """Replace the document's chunks with these chunks, in the caller's transaction. Other writers of the
        document wait.

        Chunks with ``vector=None`` must be stored already. They keep their vector and get new attributes.

        Args:
            ahead: result of ``write_ahead`` for the same chunks; the attributes may have changed since then.

        Raises:
            Permanent: chunks without a vector are not stored; their ids are in ``row_ids``.
            InvalidInput: some chunks cannot be stored, or belong to another document.
            Retryable: another writer has written the same vectors since then; write the vectors again.
        """
        strangers = [row.id for row in rows if row.document != document]
        if strangers:
            raise InvalidInput(
                f"{len(strangers)} rows are not of document {document!r}, for example {strangers[0]!r}",
                row_ids=strangers,
            )
        assert self.external is None or ahead is not None, "an external index gets its vectors first"
        key = {"collection": collection}
        with translated():
            chunk_store.lock_document(connection, organisation, store, document, **key)
            before = (
                chunk_store.document_chunks(connection, organisation, store, document, **key) if ahead else []
            )
            known = {record.id: record.attributes for record in before}
            written = self.merge(connection, organisation, store, rows, collection, ahead, known)
            deleted = chunk_store.delete_others(connection, organisation, store, document, **key)
            outbox.add(connection, organisation, store, deleted.outside)
        return replace(written, deleted=deleted.count)

    def settle(self, organisation: str, store: str) -> None:
        """Reconcile an external index with the store's chunks. Errors are logged, and a worker tries again
        later.
        """
        if self.external is None:
            return
        external = self.external
        try:
            outbox.empty(
                self._pool, lambda _: external, limit_s=SETTLE_S, organisation=organisation, store=store
            )
        except ClusterError as exc:
            log.warning("vector_outbox_left", vector_store=store, reason=str(exc))

    def replace_document(
        self,
        organisation: str,
        store: str,
        document: str,
        rows: Sequence[ChunkRecord],
        *,
        collection: str,
    ) -> Written:
        """Call ``write_ahead``, ``make_current`` in a separate transaction, and ``settle``."""
        ahead = self.write_ahead(organisation, store, rows, collection=collection)
        with translated(), self._pool.connection() as connection, connection.transaction():
            written = self.make_current(
                connection, organisation, store, document, rows, collection=collection, ahead=ahead
            )
        self.settle(organisation, store)
        return written

    def upsert(
        self, organisation: str, store: str, rows: Sequence[ChunkRecord], *, collection: str
    ) -> Written:
        """Insert or update chunks, each with its vector. If chunks have the same id, the last one counts.

        Raises:
            InvalidInput: see ``chunk_rows.accepted``; nothing is written.
            Permanent: an external index did not store some vectors; their ids are in ``row_ids``.
        """
        accepted(rows, found := self.collection(collection), vectors_needed=True)
        distinct = sorted({row.id: row for row in rows}.values(), key=lambda row: row.id)
        written = 0
        for part in batches(distinct, self.vectors.capabilities.rows_at_once(found.dim)):
            ahead = self.write_ahead(organisation, store, part, collection=collection)
            with translated(), self._pool.connection() as connection, connection.transaction():
                merged = self.merge(connection, organisation, store, part, collection, ahead, known={})
                written += merged.written
        return Written(written=written, unchanged=len(distinct) - written)

    def merge(
        self,
        connection: Connection[Any],
        organisation: str,
        store: str,
        rows: Sequence[ChunkRecord],
        collection: str,
        ahead: Ahead | None,
        known: Mapping[str, Mapping[str, Any]],
    ) -> Written:
        """Write chunks in the caller's transaction. If the index is external, the chunks are written without
        their vectors.

        Args:
            known: the attributes that an external index already has, by chunk id.
        """
        distinct = accepted(rows, self.collection(collection, connection), vectors_needed=False)
        kept = [id for id, *_, vector in distinct if vector is None]
        if self.external is not None:
            distinct = [(*row[:-1], None) for row in distinct]
        written = chunk_store.merge(
            connection, organisation, store, distinct, collection=collection, kept=kept
        )
        if ahead is not None:
            sent = {**known, **ahead.attributes}
            changed = {row.id for row in rows if sent.get(row.id) != row.attributes}
            outbox.release(
                connection,
                self._place(organisation, store, collection),
                list(ahead.attributes),
                ahead.holder,
            )
            outbox.add(connection, organisation, store, sorted(changed))
        return Written(written=written, unchanged=len(distinct) - written)

    def stored_ids(self, organisation: str, store: str, document: str, *, collection: str) -> set[str]:
        """Return the ids of the document's chunks. The vectors of these chunks are stored too."""
        self.collection(collection)
        with translated(), self._pool.connection() as connection:
            return chunk_store.stored_ids(connection, organisation, store, document, collection=collection)

    def search(
        self,
        organisation: str,
        store: str,
        *,
        collection: str,
        vector: NDArray[np.float32] | None = None,
        text: str | None = None,
        k: int = 10,
        filter: Mapping[str, Any] | None = None,
        mode: Mode = "ann",
    ) -> list[Hit]:
        """Return the hits for one question; see ``chunk_search.search``."""
        question = Question(text=text, vector=vector)
        (hits,) = self.search_all(
            organisation, store, [question], collection=collection, k=k, filter=filter, mode=mode
        )
        return hits

    def search_all(
        self,
        organisation: str,
        store: str,
        questions: Sequence[Question],
        *,
        collection: str,
        k: int = 10,
        filter: Mapping[str, Any] | None = None,
        mode: Mode = "ann",
    ) -> list[list[Hit]]:
        """Return the hits for each question, all from one state of the store; see ``chunk_search.search``."""
        return chunk_search.search(
            self._pool,
            self.vectors,
            organisation,
            store,
            questions,
            collection=self.collection(collection),
            k=k,
            filter=filter,
            mode=mode,
        )

    def count(self, organisation: str, store: str, *, collection: str) -> int:
        """Return the number of chunks in the store."""
        self.collection(collection)
        with translated(), self._pool.connection() as connection:
            return chunk_store.count(connection, organisation, store, collection=collection)

    def scan(self, organisation: str, store: str, *, collection: str) -> Iterator[ChunkRecord]:
        """Yield every chunk of the store with its vector, ordered by id. Few chunks are in memory at a time.

        The vector of a chunk is None if an external index has lost the vector.
        """
        found = self.collection(collection)
        records = chunk_store.scan(self._pool, organisation, store, collection=collection)
        if self.external is None:
            yield from records
            return
        for part in batches(records, ROWS_PER_TRANSACTION):
            ids = [record.id for record in part]
            vectors = self.external.fetch(organisation, store, ids, collection=found)
            yield from (replace(record, vector=vectors.get(record.id)) for record in part)

    def optimise(self, collection: str) -> None:
        """Renew the words of some chunks that older code wrote, and build the approximate index if the
        collection is large enough for one. Safe to repeat."""
        renew_words(self._pool, limit_s=RENEWAL_S, collection=collection)
        self.vectors.optimise(self.collection(collection))

    def _place(self, organisation: str, store: str, collection: str) -> outbox.Place:
        return outbox.Place(organisation=organisation, store=store, index=self.name, collection=collection)

    def collection(self, name: str, connection: Connection[Any] | None = None) -> Collection:
        """Return the collection with this name.

        Args:
            connection: the caller's connection, if the caller has one, because taking a second connection
                while holding one can deadlock the pool.

        Raises:
            NotFound: the collection was never made.
        """
        if name not in self._collections:
            with translated():
                if connection is not None:
                    self._collections[name] = find_collection(connection, name)
                else:
                    with self._pool.connection() as own:
                        self._collections[name] = find_collection(own, name)
        return self._collections[name]
