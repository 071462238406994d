"""Fixtures of the tests with several nodes, which run in rounds: ``tests/fault_rounds.py``."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from tests.conftest import NewHome
from tests.data_jobs.kinds.crawls.crawling import crawling_settings
from tests.fault_rounds import chance, run_in_rounds  # noqa: F401  a fixture
from tests.faults.accepted_files import Home
from tests.faults.disturbed_crawls import slow_down
from tests.nodes import sleeping_engine
from tests.nodes.machines import NoNamespaces
from tests.nodes.node_cluster import NodeCluster, node_cluster
from tests.simulators.site import TrapSite, site_of_traps

#: A worker without a heartbeat for so long counts as dead.
LEASE_S = 5.0
#: Time that the engine takes for a thousand tokens: all work lasts long enough for a fault.
SLOW_MS = 600


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests with the fixture ``chance`` in rounds."""
    run_in_rounds(metafunc, default_seed=20261129)


@pytest.fixture(scope="session")
def sleeping_kind() -> Iterator[None]:
    """Add the sleeping engine to the registry of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sleeping_engine.KINDS, sleeping_engine.KIND, sleeping_engine.SleepingKind())
        yield


@contextmanager
def opened_cluster(settings: Settings, **changed: object) -> Iterator[NodeCluster]:
    """Make a cluster without nodes, with short times and half a GPU for each engine.

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
def opened(new_home: NewHome, sleeping_kind: None) -> Iterator[NodeCluster]:
    """The network of ``cluster``, before its nodes start."""
    slow = Table({sleeping_engine.NAME: ModelSetting(source=f"{sleeping_engine.KIND}:64@{SLOW_MS}")})
    both = {"models": slow, "min_replicas": 2, "max_replicas": 2, "min_workers": 2, "max_workers": 2}
    with opened_cluster(new_home("nodes"), **both) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def site(opened: NodeCluster) -> Iterator[TrapSite]:
    """A web site that the nodes of ``cluster`` reach. Crawls of it last long enough for a fault."""
    with site_of_traps(also_at=opened.network.address) as site:
        slow_down(site)
        reachable = crawling_settings(opened.settings, site)
        opened.settings = reachable.model_copy(
            update={"outbound_allow_cidrs": (f"{opened.network.address}/32",)}
        )
        yield site


@pytest.fixture(scope="session")
def cluster(opened: NodeCluster, site: TrapSite) -> NodeCluster:
    """A head without CPUs, two nodes with CPUs for the workers, and two nodes with a GPU for the endpoint."""
    opened.start_head()
    for number in (1, 2):
        opened.add(f"gpu-{number}", cpus=2, gpus=1)
        opened.add(f"cpu-{number}", cpus=2)
    opened.until_joined()
    opened.deploy()
    for node in opened.nodes.values():
        opened.until_ready(node.api)
    return opened


@pytest.fixture(scope="session")
def home(cluster: NodeCluster) -> Iterator[Home]:
    """The database of the cluster."""
    with open_pool(cluster.settings, access=OWNER) as pool:
        yield Home(cluster.settings, pool)
