"""Replicas come, go, are replaced and die under load, behind HAProxy; no request is lost."""

import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import NewHome
from tests.launch.load import Load
from tests.launch.production import Production, await_true, production

pytestmark = [pytest.mark.launch, pytest.mark.timeout(300)]

SHARE = 0.5
MOST = 2


@pytest.fixture(scope="module")
def cluster(new_home: NewHome) -> Iterator[Production]:
    """One replica on half a GPU and up to two, as the load asks; the engines compute on the CPU."""
    wanted = {
        "device": "cpu",
        "gpus_per_embedder": SHARE,
        "threads": 1,
        "min_replicas": 1,
        "max_replicas": MOST,
        "target_ongoing_requests": 6.0,
        "upscale_delay_s": 1.0,
        "downscale_delay_s": 2.0,
    }
    with production(new_home("production").model_copy(update=wanted)) as cluster:
        yield cluster


def test_a_replica_asks_for_a_share_of_a_gpu_and_computes_where_it_is_told_to(cluster: Production) -> None:
    assert cluster.deployment()["required_resources"] == {"CPU": 1, "GPU": SHARE}
    with Load(cluster.api, clients=1) as load:
        await_true(lambda: load.answered > 2, "answers")
    assert load.failures == []


def test_load_brings_replicas_and_a_lull_removes_them(cluster: Production) -> None:
    assert len(cluster.replicas()) == 1

    with Load(cluster.api, clients=24) as ramp:
        await_true(lambda: len(cluster.replicas()) == MOST, "replicas to be added")
    with Load(cluster.api, clients=2) as lull:
        await_true(lambda: len(cluster.replicas()) == 1, "replicas to be removed")

    assert (ramp.failures, lull.failures) == ([], [])
    assert ramp.answered > 50
    assert lull.answered > 50


def test_a_new_release_replaces_the_replicas_under_load(cluster: Production) -> None:
    with Load(cluster.api, clients=24) as load:
        await_true(lambda: len(cluster.replicas()) >= 2, "replicas to be added")
        old = set(cluster.replicas())
        cluster.deploy("second")
        await_true(lambda: bool(new := set(cluster.replicas())) and not new & old, "the new release")

    assert load.failures == []


def test_a_killed_replica_costs_no_request(cluster: Production) -> None:
    with Load(cluster.api, clients=24) as load:
        await_true(lambda: len(cluster.replicas()) >= 2, "replicas to be added")
        victim, pid = next(iter(cluster.replicas().items()))
        before = load.answered
        os.kill(pid, signal.SIGKILL)
        await_true(lambda: victim not in cluster.replicas() and load.answered > before + 50, "life without it")

    assert load.failures == []


def test_a_replica_that_stops_is_not_ready_but_alive_and_finishes(cluster: Production) -> None:
    with Load(cluster.api, clients=4) as load:
        old = {id: cluster.direct(pid) for id, pid in cluster.replicas().items()}
        assert [httpx.get(f"{url}/readyz").status_code for url in old.values()] == [200] * len(old)
        cluster.deploy("third")
        await_true(lambda: bool(cluster.replicas("STOPPING")), "a replica to be stopped")
        stopping = old[next(iter(cluster.replicas("STOPPING")))]

        ready, alive = httpx.get(f"{stopping}/readyz"), httpx.get(f"{stopping}/healthz")

        assert (ready.status_code, ready.json()["status"], alive.status_code) == (503, "stopping", 200)
    assert load.failures == []
