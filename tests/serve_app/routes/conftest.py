"""Vector stores with files that the test processes in place of the worker."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore, get_store
from cluster.settings import Settings
from tests.indexed_files import make_files, process
from tests.serve_app.conftest import Server

PAGES = ["Herons stand still for hours.", "Swifts sleep on the wing.", "Only the operator may stop the pump."]


@pytest.fixture
def index(settings: Settings, pool: ConnectionPool) -> ChunkIndex:
    return open_chunk_index(settings, pool)


@pytest.fixture
def store(http: httpx.Client, connection: Connection[Any], settings: Settings) -> VectorStore:
    """A new vector store."""
    return get_store(
        connection,
        settings.organisation,
        http.post("/v1/vector_stores", json={"name": f"s {uuid4()}"}).json()["id"],
    )


@pytest.fixture
def file(connection: Connection[Any], settings: Settings) -> str:
    """The id of a new file."""
    return make_files(connection, settings.organisation)[0]


@pytest.fixture
def done(connection: Connection[Any], index: ChunkIndex, server: Server) -> Any:
    """``done(store, file)`` makes the file searchable, as the worker does."""

    def done(store: VectorStore, file: str, texts: list[str] = PAGES) -> None:
        assert process(
            connection,
            index,
            store,
            file,
            texts,
            embed=lambda texts: server.service.models.default.engine.embed(texts).vectors,
        )

    return done
