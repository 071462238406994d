"""Read a whole store from one snapshot of the database, in parts of limited size. A part has documents with
all of their chunks and vectors, or chunks without a document.

for part in read_store(pool, indexes.of(store), store):
    writer.write(part)
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import snapshot, translated
from cluster.documents.chunks.chunk_copies import chunks_of, chunks_without_document
from cluster.documents.chunks.chunk_rows import ROWS_PER_TRANSACTION, ChunkRecord
from cluster.documents.copies import Copied, read_documents
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore

#: Called with the id of a document or chunk that is left out, the reason, and the number of chunks.
LeaveOut = Callable[[str, str, int], None]
#: Maximum number of documents in a part, as a share of the maximum number of chunks. The number of documents
#: is limited, because documents without chunks need memory, too.
DOCUMENTS_PER_CHUNK = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of a store: documents with all of their chunks, or chunks without a document."""

    #: Each document, with its chunks ordered by id.
    documents: list[tuple[Copied, list[ChunkRecord]]] = field(default_factory=list)
    #: Chunks whose document has no record, such as given vectors.
    chunks: list[ChunkRecord] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of chunks."""
        return len(self.chunks) + sum(len(rows) for _, rows in self.documents)


def read_store(
    pool: ConnectionPool, index: ChunkIndex, store: VectorStore, *, size: int = ROWS_PER_TRANSACTION
) -> Generator[Part, None, None]:
    """Yield the store's documents by id, then the chunks without a document, all from one snapshot.

    Args:
        size: maximum number of chunks of a part. Only a part with a single document can have more chunks.
    """
    index.collection(store.collection)  # loaded before the snapshot, which then needs no second connection
    with translated(), snapshot(pool) as connection:
        for some in _some_documents(connection, store, size):
            rows: dict[str, list[ChunkRecord]] = {one.id: [] for one in some}
            for row in chunks_of(connection, index, store, list(rows)):
                rows[row.document].append(row)
            yield Part(documents=[(one, rows[one.id]) for one in some])
        for chunks in chunks_without_document(connection, index, store, size):
            yield Part(chunks=chunks)


def with_vectors(part: Part, leave_out: LeaveOut) -> Part:
    """Return the part without chunks that have no vector, and without documents that have such chunks.

    Args:
        leave_out: called for each document or chunk that is left out.
    """
    documents, chunks = [], []
    for copied, rows in part.documents:
        if all(row.vector is not None for row in rows):
            documents.append((copied, rows))
        else:
            leave_out(copied.id, "the index has lost vectors of it, or it just changed", len(rows))
    for row in part.chunks:
        if row.vector is not None:
            chunks.append(row)
        else:
            leave_out(row.id, "the index has lost its vector, or it was just deleted", 1)
    return Part(documents=documents, chunks=chunks)


def _some_documents(connection: Connection[Any], store: VectorStore, size: int) -> Iterator[list[Copied]]:
    some: list[Copied] = []
    chunks = 0
    for copied in read_documents(connection, store):
        expected = 0 if copied.document is None else copied.document.chunks
        if some and (len(some) >= DOCUMENTS_PER_CHUNK * size or chunks + expected > size):
            yield some
            some, chunks = [], 0
        some.append(copied)
        chunks += expected
    if some:
        yield some
