"""Rounds of faults: ``ROUNDS`` of them (one by default), each with its own seed, from ``SEED`` on; a test's id names its seed."""

import os
from collections.abc import Iterator
from random import Random

import pytest

from cluster.database import open_pool
from tests.conftest import NewHome
from tests.faults.accepted_files import Contents, Place, attach, await_end, check, contents
from tests.faults.worker_processes import Workers

ROUNDS = int(os.environ.get("ROUNDS", "1"))
SEED = int(os.environ.get("SEED", "20261124"))
#: A worker that says nothing for so long counts as dead.
LEASE_S = 3.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``chance`` is run once a round."""
    if "chance" in metafunc.fixturenames:
        seeds = range(SEED, SEED + ROUNDS)
        metafunc.parametrize("chance", seeds, ids=[f"seed {seed}" for seed in seeds], indirect=True)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """Of the round."""
    return Random(request.param)


@pytest.fixture(scope="package")
def place(new_home: NewHome) -> Iterator[Place]:
    """A home whose database may be killed."""
    settings = new_home("faults").model_copy(update={"lease_s": LEASE_S, "engine_threads": 1})
    pool = open_pool(settings)
    yield Place(settings, pool)
    pool.close()


@pytest.fixture(scope="package")
def workers(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Two, started again when they die."""
    with Workers(place.settings, 2, tmp_path_factory.mktemp("workers")) as workers:
        yield workers


@pytest.fixture(scope="package")
def undisturbed(place: Place, workers: Workers) -> Contents:
    """What every disturbed run must come to."""
    accepted = attach(place)
    await_end(place, accepted)
    expected = contents(place, accepted)
    check(place, accepted, expected)
    return expected
