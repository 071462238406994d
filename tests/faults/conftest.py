"""Fixtures of the fault tests. ``ROUNDS`` rounds (1 by default) run with seeds from ``SEED`` on.

The id of a test names its seed.
"""

import os
from collections.abc import Iterator
from random import Random

import pytest

from cluster.database import open_pool
from tests import folder_index
from tests.conftest import NewHome
from tests.faults.accepted_files import Contents, Home, attach, await_end, check, contents
from tests.faults.worker_processes import Workers

ROUNDS = int(os.environ.get("ROUNDS", "1"))
SEED = int(os.environ.get("SEED", "20261124"))
#: A worker without a heartbeat for so long counts as dead.
LEASE_S = 3.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the fixture ``chance`` once in each round."""
    if "chance" in metafunc.fixturenames:
        seeds = range(SEED, SEED + ROUNDS)
        metafunc.parametrize("chance", seeds, ids=[f"seed {seed}" for seed in seeds], indirect=True)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """Random numbers from the seed of the round."""
    return Random(request.param)


@pytest.fixture(scope="package")
def home(new_home: NewHome) -> Iterator[Home]:
    """A home whose Postgres the tests may kill."""
    # Stores are made in pgvector all the same, except where a test asks for the index in files.
    ours = {"lease_s": LEASE_S, "engine_threads": 1, "vector_index": folder_index.NAME}
    settings = new_home("faults").model_copy(update=ours)
    pool = open_pool(settings)
    yield Home(settings, pool)
    pool.close()


@pytest.fixture(scope="package")
def workers(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two worker processes that are started again when they end."""
    with Workers(home.settings, 2, tmp_path_factory.mktemp("workers")) as workers:
        yield workers


@pytest.fixture(scope="package")
def undisturbed(home: Home, workers: Workers) -> Contents:
    """Chunks and vectors after a run without a fault, which every other run must reach as well."""
    accepted = attach(home)
    await_end(home, accepted)
    expected = contents(home, accepted)
    check(home, accepted, expected)
    return expected
