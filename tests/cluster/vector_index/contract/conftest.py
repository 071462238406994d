"""Every place where vectors can be, as one fixture. The promises to a writer and a searcher are the same at
each place, so the tests are the same too.

The places are the bundled Postgres, a second Postgres that ``CLUSTER_DATABASE_URL`` names, an index in files,
and Pinecone on a simulator. The tests of a module share one index at each place.
"""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import pytest
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import bundled, open_pool
from cluster.database.bundled import data_directory
from cluster.database.bundled.binaries import newest
from cluster.database.bundled.os_user import run_as, server_user
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.errors import Retryable
from cluster.settings import Settings
from cluster.settings.indexes import IndexSource
from cluster.vector_index import PGVECTOR, PINECONE
from tests import folder_index
from tests.cluster.vector_index.contract import DIM, ORG, STORE
from tests.conftest import NewHome, free_ports
from tests.simulators.pinecone.server import PineconeServer, simulator

#: Organisation and id of the stores that the tests write to.
STORES = [(ORG, STORE), (ORG, "other"), ("other", STORE)]
SECOND = "second"
#: Place (the id of a test) -> name of the index in the settings.
INDEXES = {PGVECTOR: PGVECTOR, SECOND: PGVECTOR, "folder": folder_index.NAME, PINECONE: "simulated"}

MakeRow = Callable[..., ChunkRecord]
T = TypeVar("T")


@pytest.fixture(scope="module", params=INDEXES)
def place(request: pytest.FixtureRequest) -> str:
    """Return the place of the vectors: a key of ``INDEXES``."""
    return str(request.param)


@pytest.fixture(scope="module")
def here(request: pytest.FixtureRequest, place: str, settings: Settings) -> Settings:
    """Return settings whose new stores have their vectors at this place."""
    if place == SECOND:
        return request.getfixturevalue("second_settings")
    changed: dict[str, Any] = {"vector_index": INDEXES[place]}
    if place == PINECONE:
        url = request.getfixturevalue("pinecone_server").url
        changed["indexes"] = {INDEXES[PINECONE]: IndexSource(kind=PINECONE, host=url)}
    return settings.model_copy(update=changed)


@pytest.fixture(scope="module")
def pool(request: pytest.FixtureRequest, place: str, pool: ConnectionPool) -> ConnectionPool:
    """Return connections to the Postgres of this place."""
    return request.getfixturevalue("second_pool") if place == SECOND else pool


@pytest.fixture(scope="module")
def shared_index(here: Settings, pool: ConnectionPool) -> ChunkIndex:
    """Return a chunk index whose vectors are at this place."""
    return open_chunk_index(here, pool)


@pytest.fixture
def index(
    request: pytest.FixtureRequest, place: str, here: Settings, shared_index: ChunkIndex
) -> Iterator[ChunkIndex]:
    """Return the same index without the faults of an earlier test. The simulator must accept every
    request.
    """
    folder_index.behave(here)
    server = request.getfixturevalue("pinecone_server") if place == PINECONE else None
    yield shared_index
    if server is not None:
        assert server.complaints == []
        assert server.traffic.overruns == []


@pytest.fixture(scope="module")
def pinecone_server() -> Iterator[PineconeServer]:
    """Run a simulator of Pinecone, in which writes become visible late."""
    with pytest.MonkeyPatch.context() as patch, simulator(dim=DIM) as server:
        patch.setenv("PINECONE_API_KEY", "simulated")
        server.service.storage.delay_s = 0.01
        yield server


@pytest.fixture(scope="session")
def second_settings(new_home: NewHome) -> Settings:
    """Return settings of a cluster on another server, which has the configuration that ``initdb`` wrote."""
    home = new_home("second")
    files = data_directory.Files(home.home / "postgres")
    data_directory.initialise(files)
    (port,) = free_ports(1)
    started = run_as(
        server_user(files.data),
        [
            *(str(newest() / "pg_ctl"), "start", "-w", "-D", str(files.data), "-l", str(files.log)),
            *("-o", f"-p {port} -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories="),
        ],
        reach=[newest(), files.data],
    )
    assert started.returncode == 0, started.stdout
    return home.model_copy(update={"database_url": SecretStr(bundled.url(home))})


@pytest.fixture(scope="session")
def second_pool(second_settings: Settings) -> Iterator[ConnectionPool]:
    """Connections to that server, with the schema."""
    with open_pool(second_settings, access=OWNER) as pool:
        yield pool


@pytest.fixture
def collection(index: ChunkIndex, pool: ConnectionPool) -> Iterator[str]:
    """Make a collection for this test, with the stores that the tests name."""
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
            [(*store, name, index.name) for store in STORES],
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
            vector = np.random.default_rng(list(id.encode())).normal(size=DIM).astype(np.float32)
        return ChunkRecord(
            id=id, document=document, text=text or f"text of {id}", attributes=attributes, vector=vector
        )

    return make


def ids(index: ChunkIndex, collection: str, store: str = STORE, organisation: str = ORG) -> list[str]:
    """Ids of the chunks of a store, in the order of a scan."""
    return [row.id for row in index.scan(organisation, store, collection=collection)]


def persistently(write: Callable[..., T], *place: Any) -> T:
    """Write, and repeat it after a retryable error, as callers do."""
    *place, collection = place
    while True:
        try:
            return write(*place, collection=collection)
        except Retryable:
            time.sleep(random.uniform(0, 0.1))
