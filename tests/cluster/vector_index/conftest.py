"""Every adapter, as one fixture: the contract is one, so its tests are."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex, open_chunk_index
from cluster.settings import Settings

DIM = 8

MakeRow = Callable[..., ChunkRecord]


@pytest.fixture(params=["pgvector"])
def index(request: pytest.FixtureRequest, settings: Settings, pool: ConnectionPool) -> ChunkIndex:
    """An adapter on its real database."""
    assert request.param == "pgvector"
    return open_chunk_index(settings, pool)


@pytest.fixture
def collection(index: ChunkIndex, pool: ConnectionPool) -> Iterator[str]:
    """A collection of this test's own."""
    name = f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=DIM)
    yield name
    with pool.connection() as connection:
        connection.execute(f"DROP TABLE vectors_{name}")
        connection.execute("DELETE FROM vector_collections WHERE name = %s", [name])


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
