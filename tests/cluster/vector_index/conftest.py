"""Every place where vectors lie, as one fixture: the promises to a writer and a searcher are the same, so the
tests are too.
"""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.settings import Settings
from cluster.settings.indexes import IndexSource
from cluster.vector_index import PGVECTOR, PINECONE
from tests import folder_index
from tests.simulators.pinecone.server import simulator

DIM = 8
#: Organisation and id of the stores that the tests write to.
STORES = [("default", "vs"), ("default", "other"), ("other", "vs")]
#: Test id -> name of the index in the settings.
INDEXES = {PGVECTOR: PGVECTOR, "folder": folder_index.NAME, PINECONE: "simulated"}

MakeRow = Callable[..., ChunkRecord]


@pytest.fixture(params=INDEXES)
def index(request: pytest.FixtureRequest, settings: Settings, pool: ConnectionPool) -> ChunkIndex:
    """A chunk index, with its vectors in our Postgres, in files, or on a simulator of Pinecone."""
    changed: dict[str, Any] = {"vector_index": INDEXES[request.param]}
    if request.param == PINECONE:
        changed["indexes"] = request.getfixturevalue("simulated_pinecone")
    folder_index.behave(settings)
    return open_chunk_index(settings.model_copy(update=changed), pool)


@pytest.fixture
def simulated_pinecone(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, IndexSource]]:
    """Settings of an index on a simulator, which finds no fault with the requests."""
    monkeypatch.setenv("PINECONE_API_KEY", "simulated")
    with simulator(dim=DIM) as server:
        server.service.storage.delay_s = 0.01
        yield {"simulated": IndexSource(kind=PINECONE, host=server.url)}
        assert server.complaints == []
        assert server.traffic.overruns == []


@pytest.fixture
def collection(index: ChunkIndex, pool: ConnectionPool) -> Iterator[str]:
    """A collection of this test's own, with the stores that the tests name."""
    name = f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=DIM)
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO organisations (id, name) VALUES ('other', 'other') ON CONFLICT DO NOTHING"
        )
        connection.cursor().executemany(
            "INSERT INTO vector_stores"
            " (organisation, id, name, collection, index, fingerprint_id, fingerprint)"
            " VALUES (%s, %s, '', %s, %s, '', '{}')",
            [(*place, name, index.name) for place in STORES],
        )
    yield name
    with pool.connection() as connection:
        connection.execute("DELETE FROM vector_stores WHERE collection = %s", [name])
        connection.execute(f"DROP TABLE vectors_{name}")
        connection.execute("DELETE FROM vector_collections WHERE name = %s", [name])
        connection.execute("DELETE FROM vector_outbox WHERE collection = %s", [name])


@pytest.fixture
def row() -> MakeRow:
    """``row("a", page=3)``: a row with a random vector that is the same for the same id."""

    def make(
        id: str, document: str = "doc", text: str = "", vector: Any = ..., **attributes: Any
    ) -> ChunkRecord:
        if vector is ...:
            vector = np.random.default_rng(abs(hash(id)) % 2**32).normal(size=DIM).astype(np.float32)
        return ChunkRecord(
            id=id, document=document, text=text or f"text of {id}", attributes=attributes, vector=vector
        )

    return make
