"""SIGKILL of parts of the running cluster while clients upload and attach files over HTTP.

No accepted file is lost. While the cluster is up, clients need only their own retries.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import httpx
import psutil
import pytest
from openai import APIConnectionError, InternalServerError, OpenAI

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.files import get_file
from cluster.documents.vector_stores.stores import get_store
from cluster.local import ray_head
from cluster.local.environment import MARK
from cluster.local.processes import family, kill, wait_gone
from cluster.settings import Settings
from tests.faults.accepted_files import (
    Accepted,
    Contents,
    Home,
    await_end,
    check,
    contents,
    documents,
    leaseless,
)
from tests.running_cluster import RunningCluster, local

pytestmark = [pytest.mark.launch, pytest.mark.timeout(400)]

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
        return OpenAI(base_url=f"http://127.0.0.1:{self.settings.api_port}/v1", api_key="unused", timeout=90)

    def replica(self, application: str, deployment: str) -> psutil.Process:
        """Process of the deployment's only replica."""
        described = httpx.get(
            f"http://127.0.0.1:{self.settings.dashboard_port}/api/serve/applications/", timeout=30
        ).json()
        replicas = described["applications"][application]["deployments"][deployment]["replicas"]
        (replica,) = [one for one in replicas if one["state"] == "RUNNING"]
        return psutil.Process(replica["pid"])


class Load:
    """Clients that together upload every document and attach it to a new vector store."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.client().vector_stores.create(name="faults").id
        self.jobs: dict[str, tuple[str, str]] = {}
        self.remaining = list(documents().items())
        self.errors: list[Exception] = []

    def start(self) -> list[threading.Thread]:
        """Start the clients and return their threads."""
        share = [self.remaining[number::CLIENTS] for number in range(CLIENTS)]
        clients = [threading.Thread(target=self._send, args=[part]) for part in share]
        for client in clients:
            client.start()
        return clients

    def send(self) -> None:
        """Send all remaining documents."""
        for client in self.start():
            client.join()

    def accepted(self) -> list[Accepted]:
        """Files for which a client has received the id of a job."""
        home, organisation = self.cluster.home, self.cluster.settings.organisation
        known = documents()
        with home.pool.connection() as connection:
            store = get_store(connection, organisation, self.store)
            files = {name: get_file(connection, organisation, file) for name, (file, _) in self.jobs.items()}
        return [Accepted(store, files[name], job, known[name][1]) for name, (_, job) in self.jobs.items()]

    def _send(self, part: list[tuple[str, tuple[bytes, str]]]) -> None:
        client = self.cluster.client()
        for name, (data, state) in part:
            try:
                file = client.files.create(file=(name, data), purpose="assistants")
                attached = client.vector_stores.files.create(self.store, file_id=file.id).to_dict()
            except (APIConnectionError, InternalServerError) as exc:
                self.errors.append(exc)
                return
            self.jobs[name] = (file.id, str(attached["job_id"]))
            self.remaining.remove((name, (data, state)))
            time.sleep(PAUSE_S)


@pytest.fixture(scope="module")
def cluster(running_cluster: RunningCluster) -> Iterator[Cluster]:
    """The running cluster, with a pool of connections."""
    with open_pool(running_cluster.settings, access=OWNER) as pool:
        yield Cluster(Home(running_cluster.settings, pool))


@pytest.fixture(scope="module")
def expected(cluster: Cluster) -> Contents:
    """Chunks and vectors after a run without a fault."""
    load = Load(cluster)
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
    load = Load(cluster)
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
    load = Load(cluster)
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


def check_all(cluster: Cluster, load: Load, expected: Contents) -> None:
    """Check that all documents were accepted and end as in a run without faults."""
    accepted = load.accepted()
    assert len(accepted) == len(documents())
    cluster.home.until(
        lambda: leaseless(cluster.home) == [], "jobs without a live worker to start again", within_s=BACK_S
    )
    await_end(cluster.home, accepted, within_s=BACK_S)
    check(cluster.home, accepted, expected)
