"""Indexing: make the chunks of documents current, with their vectors, wherever the store keeps those.

``ChunkIndex`` joins our chunk table (``chunks``) and a vector index (``cluster.vector_index``). Called by the write stage, the
worker and search:

    index = open_chunk_index(settings, pool)
    with connection.transaction():
        index.make_current(connection, store, document, chunks)                 # and the caller's own records
    hits = index.search(organisation, store_id, collection=name, vector=query, text="pump", k=5)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents import chunks
from cluster.documents.chunk_rows import ROWS_PER_TRANSACTION, ChunkRecord, accepted, batches
from cluster.documents.chunk_search import Hit, Question, search
from cluster.documents.chunk_words import renew_words
from cluster.documents.stores import VectorStore
from cluster.errors import InvalidInput
from cluster.settings import Settings
from cluster.vector_index import open_vector_index
from cluster.vector_index.collections import Collection, Metric, find_collection
from cluster.vector_index.contract import Mode, TransactionalIndex, VectorIndex, Written

#: Seconds after a bulk load for which chunks of older versions are renewed; workers and the doctor renew the remaining ones.
RENEWAL_S = 30.0


class ChunkIndex:
    """The chunks of vector stores with their vectors. Safe to call from several threads.

    Args:
        pool: connections to our Postgres.
        index: where the vectors lie.
    """

    def __init__(self, pool: ConnectionPool, index: VectorIndex) -> None:
        self._pool = pool
        self._index = index
        self._collections: dict[str, Collection] = {}

    def ensure(self, collection: str, *, dim: int, metric: Metric = "cosine") -> None:
        """Make the collection if it does not exist. Safe to repeat and to race.

        Raises:
            Conflict: it exists with another dimension or metric.
            InvalidInput: the name is not ``[a-z][a-z0-9_]{0,39}``, or dim is not in 1..16000.
        """
        with translated(), self._pool.connection() as connection:
            chunks.ensure_table(connection, collection, dim=dim, metric=metric)

    def upsert(
        self, organisation: str, store: str, rows: Sequence[ChunkRecord], *, collection: str
    ) -> Written:
        """Insert or update chunks, each with its vector. Duplicate ids in one call collapse to the last.

        Raises:
            InvalidInput: with ``row_ids``; see ``chunk_rows.accepted``. Nothing is written.
        """
        distinct = accepted(rows, self._collection(collection), vectors_needed=True)
        written = 0
        for part in batches(distinct, ROWS_PER_TRANSACTION):
            with translated(), self._pool.connection() as connection:
                written += chunks.merge(connection, organisation, store, part, collection=collection)
        return Written(written=written, unchanged=len(distinct) - written)

    def make_current(
        self,
        connection: Connection[Any],
        organisation: str,
        store: str,
        document: str,
        rows: Sequence[ChunkRecord],
        *,
        collection: str,
    ) -> Written:
        """Make the document consist of exactly these chunks, in the caller's transaction; another writer of it waits.

        Chunks with ``vector=None`` must be stored already; they keep their vector and take the new attributes.

        Raises:
            Permanent: with ``row_ids`` of chunks without a vector that are not stored.
            InvalidInput: as ``upsert``; and chunks of another document.
        """
        strangers = [row.id for row in rows if row.document != document]
        if strangers:
            raise InvalidInput(
                f"{len(strangers)} rows are not of document {document!r}, {strangers[0]!r} for one",
                row_ids=strangers,
            )
        distinct = accepted(rows, self._collection(collection, connection), vectors_needed=False)
        place = (organisation, store)
        with translated():
            chunks.lock_document(connection, *place, document, collection=collection)
            written = chunks.merge(connection, *place, distinct, collection=collection)
            deleted = chunks.delete_others(connection, *place, document, collection=collection)
        return Written(written=written, unchanged=len(distinct) - written, deleted=deleted)

    def replace_document(
        self,
        organisation: str,
        store: str,
        document: str,
        rows: Sequence[ChunkRecord],
        *,
        collection: str,
    ) -> Written:
        """``make_current`` in a transaction of its own."""
        with translated(), self._pool.connection() as connection, connection.transaction():
            return self.make_current(connection, organisation, store, document, rows, collection=collection)

    def stored_ids(self, organisation: str, store: str, document: str, *, collection: str) -> set[str]:
        """Ids of the document's chunks; each has its vector."""
        self._collection(collection)
        with translated(), self._pool.connection() as connection:
            return chunks.stored_ids(connection, organisation, store, document, collection=collection)

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
        """The answer to one question; see ``chunk_search.search``."""
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
        """The answers to several questions, all from one state of the store; see ``chunk_search.search``."""
        return search(
            self._pool,
            self._index,
            organisation,
            store,
            questions,
            collection=self._collection(collection),
            k=k,
            filter=filter,
            mode=mode,
        )

    def count(self, organisation: str, store: str, *, collection: str) -> int:
        """Number of chunks in the store."""
        self._collection(collection)
        with translated(), self._pool.connection() as connection:
            return chunks.count(connection, organisation, store, collection=collection)

    def scan(self, organisation: str, store: str, *, collection: str) -> Iterator[ChunkRecord]:
        """Every chunk of the store with its vector, ordered by id, a bounded number in memory."""
        self._collection(collection)
        yield from chunks.scan(self._pool, organisation, store, collection=collection)

    def bulk_load(
        self, organisation: str, store: str, rows: Iterable[ChunkRecord], *, collection: str
    ) -> Written:
        """Upsert many chunks fast: the approximate index is built after the load, not during it.

        An approximate index that other stores use stays, unless the load is larger than the collection was before. An
        interrupted load leaves what it wrote, and perhaps no approximate index until ``optimise`` or the next load.
        """
        found, index = self._collection(collection), cast(TransactionalIndex, self._index)
        there = index.analysed_rows(found)
        written = unchanged = 0
        dropped = False
        for part in batches(rows, ROWS_PER_TRANSACTION):
            result = self.upsert(organisation, store, part, collection=collection)
            written, unchanged = written + result.written, unchanged + result.unchanged
            if written > there and not dropped:
                dropped = index.drop_approximate(found)
        self.optimise(collection)
        return Written(written=written, unchanged=unchanged)

    def optimise(self, collection: str) -> None:
        """Build the approximate index where the collection has grown to need one, and renew some chunks that an older version
        wrote; harmless to repeat."""
        renew_words(self._pool, limit_s=RENEWAL_S, collection=collection)
        self._index.optimise(self._collection(collection))

    def _collection(self, name: str, connection: Connection[Any] | None = None) -> Collection:
        """Looked up on the caller's connection: taking a second connection while holding one can deadlock the pool."""
        if name not in self._collections:
            with translated():
                if connection is not None:
                    self._collections[name] = find_collection(connection, name)
                else:
                    with self._pool.connection() as own:
                        self._collections[name] = find_collection(own, name)
        return self._collections[name]


class ChunkIndexes:
    """The chunk indexes of this process, one for each place where vectors lie.

    Args:
        pool: connections to our Postgres.
    """

    def __init__(self, settings: Settings, pool: ConnectionPool) -> None:
        del settings
        #: The one for new stores.
        self.default = ChunkIndex(pool, open_vector_index(pool))

    def of(self, store: VectorStore) -> ChunkIndex:
        """The one that has the store's vectors."""
        del store
        return self.default


def open_chunk_index(settings: Settings, pool: ConnectionPool) -> ChunkIndex:
    """The chunk index for new stores."""
    return ChunkIndexes(settings, pool).default
