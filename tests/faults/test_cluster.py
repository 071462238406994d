"""SIGKILL of parts of the running cluster while clients upload and attach files over HTTP.

No accepted file is lost. While the cluster is up, clients need only their own retries.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import httpx
import psutil
import pytest
from openai import OpenAI

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.local import ray_head
from cluster.local.environment import MARK
from cluster.local.processes import family, kill, wait_gone
from cluster.settings import Settings
from tests.faults.accepted_files import (
    Contents,
    Home,
    await_end,
    check,
    contents,
    documents,
    leaseless,
)
from tests.faults.uploading_clients import Uploads
from tests.running_cluster import RunningCluster, local
from tests.waiting import LONGEST_WAIT_S

pytestmark = pytest.mark.launch

#: Within this time another replica runs in place of a killed one, and its jobs start again.
BACK_S = 90.0
CLIENTS = 2
#: Pause between two files of one client.
PAUSE_S = 0.3


@dataclass
class Cluster:
    """The running cluster, with access to its database."""

    home: Home

    @property
    def settings(self) -> Settings:
        """Settings of the cluster."""
        return self.home.settings

    def client(self) -> OpenAI:
        """The unmodified client with its default of two retries."""
        return OpenAI(
            base_url=f"http://127.0.0.1:{self.settings.api_port}/v1", api_key="unused", timeout=LONGEST_WAIT_S
        )

    def replica(self, application: str, deployment: str) -> psutil.Process:
        """Process of the deployment's only replica."""
        described = httpx.get(
            f"http://127.0.0.1:{self.settings.dashboard_port}/api/serve/applications/", timeout=LONGEST_WAIT_S
        ).json()
        replicas = described["applications"][application]["deployments"][deployment]["replicas"]
        (replica,) = [one for one in replicas if one["state"] == "RUNNING"]
        return psutil.Process(replica["pid"])


@pytest.fixture(scope="module")
def cluster(running_cluster: RunningCluster) -> Iterator[Cluster]:
    """The running cluster, with a pool of connections."""
    with open_pool(running_cluster.settings, access=OWNER) as pool:
        yield Cluster(Home(running_cluster.settings, pool))


@pytest.fixture(scope="module")
def expected(cluster: Cluster) -> Contents:
    """Chunks and vectors after a run without a fault."""
    load = Uploads(cluster.home, cluster.client)
    load.send()
    accepted = load.accepted()
    await_end(cluster.home, accepted)
    found = contents(cluster.home, accepted)
    check(cluster.home, accepted, found)
    return found


def kill_worker(cluster: Cluster) -> None:
    """Kill the replica that runs the jobs."""
    cluster.replica("workers", "worker").kill()


def kill_embedder(cluster: Cluster) -> None:
    """Kill the replica that answers clients and holds the model."""
    cluster.replica("embedding-cluster", "embedder").kill()


@pytest.mark.parametrize(
    "fault", [kill_worker, kill_embedder], ids=lambda fault: fault.__name__.replace("_", " ")
)
def test_a_killed_replica_costs_no_request_and_no_document(
    fault: Callable[[Cluster], None], chance: Random, cluster: Cluster, expected: Contents
) -> None:
    load = Uploads(cluster.home, cluster.client)
    clients = load.start()
    time.sleep(chance.uniform(0, 2))
    fault(cluster)
    for client in clients:
        client.join()
    assert load.errors == []
    check_all(cluster, load, expected)


def test_jobs_accepted_before_the_whole_head_is_killed_end_after_the_next_up(
    chance: Random, cluster: Cluster, expected: Contents
) -> None:
    load = Uploads(cluster.home, cluster.client)
    clients = load.start()
    time.sleep(chance.uniform(0.5, 2))
    head = ray_head.running(cluster.settings)
    assert head is not None
    processes = family(MARK, head.folder, session=head.pid)
    random.shuffle(processes)
    kill(processes)
    assert wait_gone(processes, 10) == []
    for client in clients:
        client.join()
    again = local("up", cluster.settings)
    assert again.returncode == 0, again.stderr
    load.errors.clear()
    load.send()
    assert load.errors == []
    check_all(cluster, load, expected)


def check_all(cluster: Cluster, load: Uploads, expected: Contents) -> None:
    """Check that all documents were accepted and end as in a run without faults."""
    accepted = load.accepted()
    assert len(accepted) == len(documents())
    cluster.home.until(
        lambda: leaseless(cluster.home) == [], "jobs without a live worker to start again", within_s=BACK_S
    )
    await_end(cluster.home, accepted, within_s=BACK_S)
    check(cluster.home, accepted, expected)
