"""Stores with documents, attached files and given vectors, in our Postgres or in an index outside it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents import documents
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores import attaching, stores
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.engines.contract import Fingerprint
from cluster.records import chunk_id, document_id
from cluster.settings import Settings
from cluster.settings.indexes import IndexSource
from tests import folder_index
from tests.indexed_files import make_files, process

FINGERPRINT = Fingerprint(
    model="small",
    revision="0123456789ab",
    dim=3,
    max_tokens=256,
    pooling="mean",
    normalised=True,
    precision="float32",
)
TEXTS = ["Herons stand still.", "Swifts sleep on the wing.", "Only the operator may stop the pump."]

Fill = Callable[..., VectorStore]


@pytest.fixture
def here(settings: Settings, organisation: str) -> Iterator[Settings]:
    """Settings of a new organisation, with an index in files beside pgvector."""
    folder_index.behave(settings)
    yield settings.model_copy(
        update={"organisation": organisation, "indexes": {"folder": IndexSource(kind=folder_index.NAME)}}
    )
    folder_index.behave(settings)


@pytest.fixture
def indexes(here: Settings, pool: ConnectionPool) -> ChunkIndexes:
    return ChunkIndexes(here, pool)


@pytest.fixture
def fill(connection: Connection[Any], here: Settings, indexes: ChunkIndexes) -> Fill:
    """``fill("a", index="folder", documents=3, chunks=2)`` makes a store with one attached file, ingested
    documents, and three given vectors.
    """

    def fill(name: str, *, index: str = "pgvector", documents: int = 3, chunks: int = 2) -> VectorStore:
        new = NewStore(name=name, index=index, partial=True, metadata={"of": "tests"})
        store = stores.create_store(connection, here.organisation, new, fingerprint=FINGERPRINT)
        own = indexes.of(store)
        own.ensure(store.collection, dim=3)
        (file,) = make_files(connection, store.organisation)
        attaching.attach(connection, store, file, attributes={"kind": "guide", "page": "front"})
        process(connection, own, store, file, TEXTS, embed=lambda texts: vectors(len(texts), 0))
        for number in range(documents):
            _ingested(connection, indexes, store, f"file:///{number}.txt", chunks, number)
        given = [
            ChunkRecord(id=f"row {n}", document=f"row {n}", text="", attributes={"n": n / 3}, vector=vector)
            for n, vector in enumerate(vectors(3, 99))
        ]
        own.upsert(store.organisation, store.id, given, collection=store.collection)
        return store

    return fill


def vectors(count: int, seed: int) -> Any:
    """Vectors of length 1, (count, 3) float32."""
    numbers = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    return numbers / np.linalg.norm(numbers, axis=1, keepdims=True)


def _ingested(
    connection: Connection[Any],
    indexes: ChunkIndexes,
    store: VectorStore,
    source: str,
    chunks: int,
    seed: int,
) -> None:
    id = document_id(store.organisation, store.id, source)
    texts = [f"chunk {n} of {source}" for n in range(chunks)]
    rows = [
        ChunkRecord(
            id=chunk_id(id, text, 0, store.fingerprint.id),
            document=id,
            text=text,
            attributes={"source": source, "page": n + 1, "start": 0, "end": len(text), "keywords": ["chunk"]},
            vector=vector,
        )
        for n, (text, vector) in enumerate(zip(texts, vectors(chunks, seed), strict=True))
    ]
    indexes.of(store).replace_document(store.organisation, store.id, id, rows, collection=store.collection)
    attempt = documents.DocumentAttempt(
        organisation=store.organisation,
        id=id,
        vector_store=store.id,
        source=source,
        source_stamp="1",
        version="v",
        job="job",
        content_hash="aa",
    )
    content = documents.DocumentContent(
        media_type="text/plain", bytes=9, pages=chunks, pages_with_text=chunks, chunks=chunks, tokens=5,
        keywords=["chunk"], facts={},
    )  # fmt: skip
    documents.record_success(connection, attempt, content)


def contents(indexes: ChunkIndexes, store: VectorStore) -> dict[str, tuple[Any, ...]]:
    """Everything that a search of the store reads, by chunk id; vectors to the bit."""
    return {
        row.id: (row.text, row.attributes, None if row.vector is None else row.vector.tobytes())
        for row in indexes.of(store).scan(store.organisation, store.id, collection=store.collection)
    }
