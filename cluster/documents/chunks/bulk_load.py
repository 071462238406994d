"""Load many chunks in one call, and build the approximate index of their collection after the load.

bulk_load(index, "default", "vs_1", chunks, collection="m_minilm_0123")
"""

from collections.abc import Iterable
from typing import cast

from cluster.documents.chunks.chunk_rows import ROWS_PER_TRANSACTION, ChunkRecord, batches
from cluster.documents.indexing import ChunkIndex
from cluster.vector_index.contract import TransactionalIndex, Written


class ApproximateIndex:
    """Drops the approximate index of a collection during a large load, and builds it after the load.

    Inserting a row is 35 times slower while the collection has an approximate index. So the load drops the
    index as soon as the load has written more rows than the collection had before. A smaller load keeps the
    index, because the searches of other stores use it. After an interruption, the approximate index may be
    missing until the next call of ``optimise`` or the next load.
    """

    def __init__(self, index: ChunkIndex, collection: str) -> None:
        self._index, self._collection = index, collection
        self._there: int | None = None
        self._written = 0
        self._dropped = False

    def wrote(self, rows: int) -> None:
        """Count the rows that the load has written, and drop the approximate index if the load has become
        large.
        """
        self._written += rows
        if self._index.external is not None or self._dropped:
            return
        found, vectors = self._index.collection(self._collection), self._index.vectors
        transactional = cast(TransactionalIndex, vectors)
        if self._there is None:
            self._there = transactional.analysed_rows(found)
        if self._written > self._there:
            self._dropped = transactional.drop_approximate(found)

    def build(self) -> None:
        """Build the approximate index if the collection is large enough for one (``ChunkIndex.optimise``)."""
        self._index.optimise(self._collection)


def bulk_load(
    index: ChunkIndex, organisation: str, store: str, rows: Iterable[ChunkRecord], *, collection: str
) -> Written:
    """Insert or update the chunks. ``ApproximateIndex`` drops the approximate index during a large load, and
    builds it after the load. If the load is interrupted, the rows that were written stay.
    """
    approximate = ApproximateIndex(index, collection)
    written = unchanged = 0
    for part in batches(rows, ROWS_PER_TRANSACTION):
        result = index.upsert(organisation, store, part, collection=collection)
        written, unchanged = written + result.written, unchanged + result.unchanged
        approximate.wrote(result.written)
    approximate.build()
    return Written(written=written, unchanged=unchanged)
