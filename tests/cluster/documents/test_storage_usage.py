"""What an organisation stores is recorded once for each day in UTC."""

from typing import Any

import numpy as np
from psycopg import Connection

from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.documents.storage_usage import record_storage
from cluster.documents.vector_stores.stores import VectorStore
from tests.cluster.documents.test_files import make, some_blob


def stored(connection: Connection[Any], organisation: str) -> list[tuple[object, ...]]:
    """The events of the organisation, and whether they are about the beginning of this day."""
    return connection.execute(
        "SELECT source, kind, unit, model, quantity, at = date_trunc('day', now(), 'UTC') FROM usage_events"
        " WHERE organisation = %s ORDER BY kind",
        [organisation],
    ).fetchall()


def test_bytes_and_vectors_are_recorded_once_a_day(
    connection: Connection[Any], organisation: str, stranger: str, store: VectorStore, index: ChunkIndex
) -> None:
    make(connection, organisation, some_blob(30))
    make(connection, organisation, some_blob(12), "b.txt")
    index.ensure(store.collection, dim=store.fingerprint.dim)
    rows = [
        ChunkRecord(
            id=f"chunk_{n}",
            document="doc_1",
            text="a text",
            attributes={},
            vector=np.eye(1, store.fingerprint.dim, n, dtype=np.float32)[0],
        )
        for n in range(3)
    ]
    index.replace_document(organisation, store.id, "doc_1", rows, collection=store.collection)
    assert record_storage(connection) > 0
    make(connection, organisation, some_blob(1_000), "c.txt")
    make(connection, stranger, some_blob(5))
    record_storage(connection)
    assert stored(connection, organisation) == [
        ("storage", "stored_bytes", "bytes", None, 42, True),
        ("storage", "stored_vectors", "vectors", None, 3, True),
    ]
    assert stored(connection, stranger) == [("storage", "stored_bytes", "bytes", None, 5, True)]
    assert record_storage(connection) == 0
