"""Load many chunks at once, and build the approximate index of their collection after the load.

bulk_load(index, "default", "vs_1", chunks, collection="m_minilm_0123")
"""

from collections.abc import Iterable
from typing import cast

from cluster.documents.chunks.chunk_rows import ROWS_PER_TRANSACTION, ChunkRecord, batches
from cluster.documents.indexing import ChunkIndex
from cluster.vector_index.contract import TransactionalIndex, Written


def bulk_load(
    index: ChunkIndex, organisation: str, store: str, rows: Iterable[ChunkRecord], *, collection: str
) -> Written:
    """Upsert the chunks. Inserting a row is 35 times slower while the collection has an approximate index.

    So the load drops the index once it has written more rows than the collection had before. Otherwise the
    index stays for the other stores. After an interruption, the written rows stay, and the approximate index
    may be missing until ``optimise`` or the next load.
    """
    found = index.collection(collection)
    transactional = None if index.external else cast(TransactionalIndex, index.vectors)
    there = transactional.analysed_rows(found) if transactional else 0
    written = unchanged = 0
    dropped = False
    for part in batches(rows, ROWS_PER_TRANSACTION):
        result = index.upsert(organisation, store, part, collection=collection)
        written, unchanged = written + result.written, unchanged + result.unchanged
        if transactional and written > there and not dropped:
            dropped = transactional.drop_approximate(found)
    index.optimise(collection)
    return Written(written=written, unchanged=unchanged)
