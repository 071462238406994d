"""Fixtures of the fault tests, which run in rounds: ``tests/fault_rounds.py``."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.settings import Settings
from cluster.settings.indexes import PINECONE, IndexSource
from cluster.settings.values import Table
from tests import folder_index
from tests.conftest import NewHome
from tests.fault_rounds import chance, run_in_rounds  # noqa: F401  a fixture
from tests.faults.accepted_files import Contents, Home, attach, await_end, check, contents
from tests.faults.external_indexes import SIMULATED, InFolder, OnPinecone
from tests.faults.worker_processes import Workers
from tests.keys_in_output import marked_key
from tests.own_database import own_database
from tests.simulators.pinecone.server import PineconeServer, simulator
from tests.simulators.pinecone.traffic import RateCaps

#: Limit of the simulated Pinecone, and of the cluster.
REQUESTS_PER_SECOND = 2
#: A worker without a heartbeat for so long counts as dead.
LEASE_S = 3.0
#: The same for the workers of a database of its own.
OWN_LEASE_S = 2.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests with the fixture ``chance`` in rounds."""
    run_in_rounds(metafunc, default_seed=20261124)


@pytest.fixture(scope="package")
def pinecone() -> Iterator[PineconeServer]:
    """A simulator of Pinecone with limits that few writers reach."""
    limits = RateCaps(requests=REQUESTS_PER_SECOND, lists=REQUESTS_PER_SECOND)
    with pytest.MonkeyPatch.context() as patch, simulator(caps=limits) as server:
        patch.setenv("PINECONE_API_KEY", marked_key("pcsk_"))
        server.service.storage.delay_s = 0.01
        yield server
        assert server.complaints == []


@pytest.fixture(scope="package")
def home(new_home: NewHome, pinecone: PineconeServer) -> Iterator[Home]:
    """A home whose Postgres the tests may kill."""
    limited = {"host": pinecone.url, "requests_per_second": REQUESTS_PER_SECOND}
    # Stores are made in pgvector all the same, except where a test asks for another index.
    ours = {
        "lease_s": LEASE_S,
        "engine_threads": 1,
        "vector_index": folder_index.NAME,
        "indexes": Table({SIMULATED: IndexSource(kind=PINECONE, **limited)}),
    }
    settings = new_home("faults").model_copy(update=ours)
    pool = open_pool(settings, access=OWNER)
    yield Home(settings, pool)
    pool.close()


@pytest.fixture(scope="package")
def workers(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two worker processes that are started again when they end."""
    with Workers(home.settings, 2, tmp_path_factory.mktemp("workers")) as workers:
        yield workers


@pytest.fixture
def outside(
    request: pytest.FixtureRequest, home: Home, workers: Workers, pinecone: PineconeServer
) -> Iterator[InFolder | OnPinecone]:
    """The index of this class, which kills workers that write to it."""
    made = InFolder(home) if request.param is InFolder else OnPinecone(pinecone, workers)
    yield made
    made.recover()


@pytest.fixture(scope="package")
def undisturbed(home: Home, workers: Workers) -> Contents:
    """Chunks and vectors after a run without a fault, which every other run must reach as well."""
    accepted = attach(home)
    await_end(home, accepted)
    expected = contents(home, accepted)
    check(home, accepted, expected)
    return expected


@pytest.fixture(scope="module")
def own(settings: Settings, database_url: str) -> Iterator[Settings]:
    """Settings with a database of its own, in which no other worker takes the jobs."""
    with own_database(settings, database_url) as own:
        yield own.model_copy(update={"lease_s": OWN_LEASE_S})


@pytest.fixture(scope="module")
def own_pool(own: Settings) -> Iterator[ConnectionPool]:
    """Connections to that database."""
    pool = open_pool(own, access=OWNER)
    yield pool
    pool.close()


@pytest.fixture
def asking(own_pool: ConnectionPool) -> Iterator[Connection[Any]]:
    """A connection that commits each statement."""
    with own_pool.connection() as connection:
        connection.autocommit = True
        yield connection
        connection.autocommit = False
