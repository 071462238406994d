"""kill -9 of parts of the real cluster while clients upload and attach over HTTP.

Nothing that was accepted is lost, and clients need no more than their own retries while the cluster is up.
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
from cluster.documents.files import get_file
from cluster.documents.stores import get_store
from cluster.local import ray_head
from cluster.local.processes import family, kill, wait_gone
from cluster.settings import Settings
from tests.faults.accepted_files import (
    Accepted,
    Contents,
    Place,
    await_end,
    check,
    contents,
    documents,
    leaseless,
)
from tests.running_cluster import RunningCluster, local

pytestmark = [pytest.mark.launch, pytest.mark.timeout(400)]

#: A replica that died is there again, and its jobs are back.
BACK_S = 90.0
CLIENTS = 2
#: Between two files of one client.
PAUSE_S = 0.3


@dataclass
class Cluster:
    """Running."""

    place: Place

    @property
    def settings(self) -> Settings:
        """Its own."""
        return self.place.settings

    def client(self) -> OpenAI:
        """As people use it: with its own two retries."""
        return OpenAI(base_url=f"http://127.0.0.1:{self.settings.api_port}/v1", api_key="unused", timeout=90)

    def replica(self, application: str) -> psutil.Process:
        """Its one replica."""
        said = httpx.get(
            f"http://127.0.0.1:{self.settings.dashboard_port}/api/serve/applications/", timeout=30
        ).json()
        (deployment,) = said["applications"][application]["deployments"].values()
        (replica,) = [one for one in deployment["replicas"] if one["state"] == "RUNNING"]
        return psutil.Process(replica["pid"])


class Load:
    """Clients that upload and attach every document to a new store, each some of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.client().vector_stores.create(name="faults").id
        self.jobs: dict[str, tuple[str, str]] = {}
        self.left = list(documents().items())
        self.errors: list[Exception] = []

    def start(self) -> list[threading.Thread]:
        """The clients, at work."""
        share = [self.left[number::CLIENTS] for number in range(CLIENTS)]
        clients = [threading.Thread(target=self._send, args=[part]) for part in share]
        for client in clients:
            client.start()
        return clients

    def send(self) -> None:
        """What is left, to its end."""
        for client in self.start():
            client.join()

    def accepted(self) -> list[Accepted]:
        """What was answered with a job."""
        place, organisation = self.cluster.place, self.cluster.settings.organisation
        known = documents()
        with place.pool.connection() as connection:
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
            self.left.remove((name, (data, state)))
            time.sleep(PAUSE_S)


@pytest.fixture(scope="module")
def cluster(running_cluster: RunningCluster) -> Iterator[Cluster]:
    """Up."""
    with open_pool(running_cluster.settings) as pool:
        yield Cluster(Place(running_cluster.settings, pool))


@pytest.fixture(scope="module")
def expected(cluster: Cluster) -> Contents:
    """What an undisturbed run comes to."""
    load = Load(cluster)
    load.send()
    accepted = load.accepted()
    await_end(cluster.place, accepted)
    found = contents(cluster.place, accepted)
    check(cluster.place, accepted, found)
    return found


def kill_worker(cluster: Cluster) -> None:
    """The replica that has the jobs."""
    cluster.replica("workers").kill()


def kill_embedder(cluster: Cluster) -> None:
    """The replica that answers clients and has the model."""
    cluster.replica("embedding-cluster").kill()


@pytest.mark.parametrize(
    "fault", [kill_worker, kill_embedder], ids=lambda fault: fault.__name__.replace("_", " ")
)
def test_a_replica_that_is_killed_costs_no_client_and_no_document(
    fault: Callable[[Cluster], None], chance: Random, cluster: Cluster, expected: Contents
) -> None:
    load = Load(cluster)
    clients = load.start()
    time.sleep(chance.uniform(0, 2))
    fault(cluster)
    for client in clients:
        client.join()
    assert load.errors == []
    end_well(cluster, load, expected)


def test_what_was_accepted_before_the_whole_head_is_killed_ends_after_the_next_up(
    chance: Random, cluster: Cluster, expected: Contents
) -> None:
    load = Load(cluster)
    clients = load.start()
    time.sleep(chance.uniform(0.5, 2))
    head = ray_head.running(cluster.settings)
    assert head is not None
    processes = family(ray_head.MARK, head.folder, session=head.pid)
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
    end_well(cluster, load, expected)


def end_well(cluster: Cluster, load: Load, expected: Contents) -> None:
    """Every document where it belongs."""
    accepted = load.accepted()
    assert len(accepted) == len(documents())
    cluster.place.until(lambda: leaseless(cluster.place) == [], "jobs to be given back", within_s=BACK_S)
    await_end(cluster.place, accepted, within_s=BACK_S)
    check(cluster.place, accepted, expected)
