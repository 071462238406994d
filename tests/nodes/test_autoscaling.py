"""Nodes and replicas that come and go with the load, and no request is lost.

The autoscaler of Ray orders nodes at the cloud of the tests (``tests.nodes.cloud``).
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from tests.conftest import NewHome
from tests.launch.embedding_load import Load
from tests.nodes import sleeping_engine
from tests.nodes.cloud import NodeGroup, cloud
from tests.nodes.conftest import opened_cluster
from tests.nodes.node_cluster import LONGEST_S, NodeCluster
from tests.waiting import Stopwatch

pytestmark = [pytest.mark.launch, pytest.mark.timeout(1800)]

#: Bound for the time between the start of the first node with a GPU and the first vector. Seconds in which
#: the processors of this machine were busy do not count.
AFTER_NODE_S = 10.0
#: Number of clients that ask while there is no GPU.
CLIENTS = 10
MOST = 8
#: The ramp: clients that ask without pause, and the number of replicas that they need.
RAMP = [(1, 1), (64, MOST), (1, 1)]
#: Time for which the clients go on with that number of replicas.
LASTS_S = 5.0


@pytest.fixture(scope="module")
def scaled(new_home: NewHome, sleeping_kind: None) -> Iterator[NodeCluster]:
    """A head and a node with CPUs. The autoscaler may order two nodes with four shares of a GPU each."""
    model = Table({sleeping_engine.NAME: ModelSetting(source=f"{sleeping_engine.KIND}:64@100")})
    changed: dict[str, Any] = {
        "models": model,
        "min_replicas": 0,
        "max_replicas": MOST,
        "gpus_per_engine_process": 0.25,
        "target_ongoing_requests": 4.0,
        "downscale_delay_s": 30.0,
    }
    groups = {"gpu": NodeGroup(cpus=5, gpus=1, most=2)}
    with opened_cluster(new_home("scaled"), **changed) as cluster, cloud(cluster, groups, idle_s=20) as file:
        cluster.start_head(autoscaling_config=file)
        cluster.add("cpu-1", cpus=2)
        cluster.until_joined()
        cluster.deploy()
        cluster.until(lambda: bool(cluster.replicas("workers", "worker")), "the worker")
        cluster.until(lambda: cluster.application("embedding-cluster") == "RUNNING", "the endpoint")
        yield cluster


def test_without_a_gpu_node_the_first_requests_start_one_and_are_all_answered(scaled: NodeCluster) -> None:
    assert list(scaled.nodes) == ["head", "cpu-1"]
    key = scaled.settings.api_key
    assert key is not None
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
    answers: list[int] = []

    def ask(number: int) -> None:
        body = {"model": scaled.settings.model, "input": f"text {number}"}
        url = f"{scaled.head.api}/v1/embeddings"
        answers.append(httpx.post(url, json=body, headers=headers, timeout=LONGEST_S).status_code)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    scaled.until(lambda: len(scaled.alive()) > 2, "a node with a GPU")
    joined = Stopwatch()
    scaled.until(lambda: bool(answers), "the first vector")
    first_s, waited_s = joined.seconds(), joined.waited_s()
    for thread in threads:
        thread.join()
    print(
        f"the first vector came {first_s:.1f} s after the node had started, without {waited_s:.1f} s in which"
    )
    print("the processors were busy")
    assert answers == [200] * CLIENTS
    assert first_s < AFTER_NODE_S


def test_replicas_follow_a_ramp_up_and_down_and_no_request_is_lost(scaled: NodeCluster) -> None:
    assert scaled.settings.api_key is not None

    def replicas() -> int:
        return len(scaled.replicas("embedding-cluster", "embedder"))

    for clients, wanted in RAMP:
        load = Load(
            scaled.head.api,
            clients=clients,
            model=scaled.settings.model,
            key=scaled.settings.api_key.get_secret_value(),
        )
        with load:
            took_s = scaled.until(lambda wanted=wanted: replicas() == wanted, f"{wanted} replicas")
            time.sleep(LASTS_S)
        assert load.failures == []
        print(
            f"{clients} clients: {wanted} replicas after {took_s:.0f} s, "
            f"{load.answered} answers, the slowest in {load.slowest_s:.1f} s"
        )
    scaled.until(lambda: len(scaled.alive()) <= 3, "the second node to be given back")
