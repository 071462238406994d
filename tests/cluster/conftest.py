"""Fixtures: a connection that commits, a store of a new organisation, and a second organisation."""

from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore, ensure_store
from cluster.engines.contract import Fingerprint
from cluster.settings import Settings
from tests.conftest import new_organisation


@pytest.fixture
def fingerprint() -> Fingerprint:
    return Fingerprint(
        model="small",
        revision="0123456789ab",
        dim=3,
        max_tokens=256,
        pooling="mean",
        normalised=True,
        precision="float32",
    )


@pytest.fixture
def store(connection: Connection[Any], organisation: str, fingerprint: Fingerprint) -> VectorStore:
    return ensure_store(connection, organisation, "handbook", fingerprint=fingerprint)


@pytest.fixture
def stranger(pool: ConnectionPool) -> str:
    """Id of another organisation, which owns nothing."""
    return new_organisation(pool)


@pytest.fixture
def index(settings: Settings, pool: ConnectionPool) -> ChunkIndex:
    """The settings' vector index."""
    return open_chunk_index(settings, pool)
