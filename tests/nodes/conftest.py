"""Fixtures of the tests with several nodes. ``ROUNDS`` rounds (1 by default) run with seeds from ``SEED`` on.

The id of a test names its seed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from tests.conftest import NewHome
from tests.faults.accepted_files import Home
from tests.nodes import sleeping_engine
from tests.nodes.machines import NoNamespaces
from tests.nodes.node_cluster import NodeCluster, node_cluster

ROUNDS = int(os.environ.get("ROUNDS", "1"))
SEED = int(os.environ.get("SEED", "20261129"))
#: A worker without a heartbeat for so long counts as dead.
LEASE_S = 5.0
#: Time that the engine takes for a thousand tokens: all work lasts long enough for a fault.
SLOW_MS = 300


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the fixture ``chance`` once in each round."""
    if "chance" in metafunc.fixturenames:
        seeds = range(SEED, SEED + ROUNDS)
        metafunc.parametrize("chance", seeds, ids=[f"seed {seed}" for seed in seeds], indirect=True)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """Random numbers from the seed of the round."""
    return Random(request.param)


@pytest.fixture(scope="session")
def sleeping_kind() -> Iterator[None]:
    """Add the sleeping engine to the registry of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sleeping_engine.KINDS, sleeping_engine.KIND, sleeping_engine.SleepingKind())
        yield


@contextmanager
def opened_cluster(settings: Settings, **changed: object) -> Iterator[NodeCluster]:
    """Make a cluster without nodes, with short times and one engine for each GPU.

    Skip the test if this machine makes no network namespaces.
    """
    short = {
        "lease_s": LEASE_S,
        "gpus_per_engine_process": 0.5,
        "upscale_delay_s": 1.0,
        "downscale_delay_s": 2.0,
    }
    try:
        with node_cluster(settings.model_copy(update={**short, **changed})) as made:
            yield made
    except NoNamespaces as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def cluster(new_home: NewHome, sleeping_kind: None) -> Iterator[NodeCluster]:
    """A head without CPUs, two nodes with CPUs for the workers, and two nodes with a GPU for the endpoint."""
    slow = Table({sleeping_engine.NAME: ModelSetting(source=f"{sleeping_engine.KIND}:64@{SLOW_MS}")})
    both = {"models": slow, "min_replicas": 2, "max_replicas": 2, "min_workers": 2, "max_workers": 2}
    with opened_cluster(new_home("nodes"), **both) as cluster:
        cluster.start_head()
        for number in (1, 2):
            cluster.add(f"gpu-{number}", cpus=2, gpus=1)
            cluster.add(f"cpu-{number}", cpus=2)
        cluster.until_joined()
        cluster.deploy()
        for node in cluster.nodes.values():
            cluster.until_ready(node.api)
        yield cluster


@pytest.fixture(scope="session")
def home(cluster: NodeCluster) -> Iterator[Home]:
    """The database of the cluster."""
    with open_pool(cluster.settings, access=OWNER) as pool:
        yield Home(cluster.settings, pool)
