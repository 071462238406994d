"""Nodes fail in the middle of all kinds of work. Nothing accepted is lost, and nothing is done twice.

Clients send embedding requests and upload files, workers index the files and answer a batch, and a bulk
ingest runs on Ray Data. After each fault, this work must leave what a run without a fault leaves.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.faults.accepted_files import Home
from tests.nodes.node_cluster import Node, NodeCluster
from tests.nodes.work import Done, work

pytestmark = [pytest.mark.launch, pytest.mark.timeout(3600)]

Fault = Callable[[NodeCluster, Random], None]

#: Time for which a node has no network or is slow.
LASTS_S = 20.0
#: The slowest answer, in seconds, while a node without replicas of the endpoint is away. Ray counts a lost
#: node as alive for a minute, and a cut node is away for more than 20 s.
UNDISTURBED_S = 15.0
#: A slow node runs for this part of each second.
SLOW_SHARE = 0.2


def lose_gpu_node(cluster: NodeCluster, chance: Random) -> None:
    """Cut the power of a node with a GPU: no connection is closed. Another node takes its place."""
    node = _gpu_node(cluster)
    node.machine.lose_power()
    _replace(cluster, node)


def kill_gpu_node(cluster: NodeCluster, chance: Random) -> None:
    """Kill every process of a node with a GPU. Another node takes its place."""
    node = _gpu_node(cluster)
    node.machine.kill()
    _replace(cluster, node)


def lose_cpu_node(cluster: NodeCluster, chance: Random) -> None:
    """Cut the power of a node with a worker."""
    _cpu_node(cluster).machine.lose_power()


def cut_cpu_node(cluster: NodeCluster, chance: Random) -> None:
    """Cut a node with a worker off the network, and connect it again after its jobs went to others."""
    machine = _cpu_node(cluster).machine
    machine.cut()
    time.sleep(LASTS_S + chance.uniform(0, 5))
    machine.heal()


def slow_gpu_node(cluster: NodeCluster, chance: Random) -> None:
    """Let a node with a GPU run for a part of each second only."""
    machine = _gpu_node(cluster).machine
    ends = time.monotonic() + LASTS_S
    try:
        while time.monotonic() < ends:
            machine.signal(signal.SIGSTOP)
            time.sleep(1 - SLOW_SHARE)
            machine.signal(signal.SIGCONT)
            time.sleep(SLOW_SHARE)
    finally:
        machine.signal(signal.SIGCONT)


def restart_head(cluster: NodeCluster, chance: Random) -> None:
    """Kill every process of the head, and start the head again with the state on its disk."""
    cluster.head.machine.kill()
    time.sleep(chance.uniform(0, 5))
    cluster.restart("head")


def drain_gpu_node(cluster: NodeCluster, chance: Random) -> None:
    """Drain a node with a GPU, as Kubernetes and the autoscaler do, and end it."""
    name = cluster.replica_nodes("embedding-cluster", "embedder")[0]
    cluster.drain(name, deadline_s=30)
    cluster.until(
        lambda: name not in cluster.replica_nodes("embedding-cluster", "embedder"), "the node to be empty"
    )
    cluster.node(name).end()


def roll(cluster: NodeCluster, chance: Random) -> None:
    """Deploy another release, which replaces all replicas one after the other."""
    before = {one["replica_id"] for one in cluster.replicas("embedding-cluster", "embedder")}
    cluster.deploy(f"{chance.random()}")

    def replaced() -> bool:
        now = {one["replica_id"] for one in cluster.replicas("embedding-cluster", "embedder")}
        return len(now) == len(before) and not now & before

    cluster.until(replaced, "other replicas")


def _gpu_node(cluster: NodeCluster) -> Node:
    """A node with a GPU and a replica. Both replicas fit on one node, so the other node may have none."""
    return cluster.node(cluster.replica_nodes("embedding-cluster", "embedder")[0])


def _replace(cluster: NodeCluster, lost: Node) -> None:
    """Start another node when Ray has noticed the loss, as Kubernetes does. The replicas may have taken all
    GPUs that are left, and then the ingest waits for this node.
    """
    address = lost.machine.address
    cluster.until(lambda: address not in cluster.alive(), "Ray to notice the loss")
    cluster.restart(lost.machine.name)


def _cpu_node(cluster: NodeCluster) -> Node:
    """A node with CPUs and a worker. After faults, both workers may be on one node."""
    return cluster.node(cluster.replica_nodes("workers", "worker")[-1])


def _doors(cluster: NodeCluster, fault: Fault) -> list[str]:
    """The nodes to which clients send requests during the fault. Only the head and nodes with replicas have a
    proxy.
    """
    workers = set(cluster.replica_nodes("workers", "worker"))
    if fault is restart_head:
        return sorted(workers)
    if fault is roll:  # the workers may move to other nodes
        return ["head"]
    if fault in (lose_cpu_node, cut_cpu_node):
        workers.discard(_cpu_node(cluster).machine.name)
    return ["head", *sorted(workers)]


FAULTS: list[Fault] = [
    lose_gpu_node,
    kill_gpu_node,
    lose_cpu_node,
    cut_cpu_node,
    slow_gpu_node,
    restart_head,
    drain_gpu_node,
    roll,
]


@pytest.fixture(scope="module")
def expected(cluster: NodeCluster, home: Home, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What all the work leaves without a fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with work(cluster, home, folder, doors=["head"], driver="cpu-1") as doing:
        doing.until_under_way()
        done = doing.end()
    doing.check(done, done)
    return done


@pytest.fixture
def repaired(cluster: NodeCluster) -> NodeCluster:
    """The cluster with all nodes and replicas, also after a test that failed."""
    cluster.repair()
    cluster.until(lambda: len(cluster.replicas("embedding-cluster", "embedder")) == 2, "both replicas")
    cluster.until(lambda: len(cluster.replicas("workers", "worker")) == 2, "both workers")
    for name in {"head", *cluster.replica_nodes("workers", "worker")}:
        cluster.until_ready(cluster.node(name).api)
    return cluster


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__.replace("_", " ") for fault in FAULTS])
def test_after_a_fault_of_a_node_all_work_ends_as_without_it(
    fault: Fault,
    chance: Random,
    expected: Done,
    repaired: NodeCluster,
    home: Home,
    tmp_path: Path,
) -> None:
    started = time.monotonic()
    doors = _doors(repaired, fault)
    driver = "cpu-1" if _cpu_node(repaired).machine.name == "cpu-2" else "cpu-2"
    with work(repaired, home, tmp_path, doors=doors, driver=driver) as doing:
        doing.until_under_way()
        time.sleep(chance.uniform(0, 2))
        fault(repaired, chance)
        found = doing.end()
    again = "the bulk ingest was repeated" if doing.repeated else "the bulk ingest went on"
    online = doing.online
    print(
        f"{fault.__name__}: {online.answered} requests answered, the slowest in {online.slowest_s:.1f} s, "
        f"{online.broken} connections broken; {again}; {time.monotonic() - started:.0f} s in all"
    )
    doing.check(found, expected)
    assert fault is restart_head or not doing.repeated
    if fault in (lose_cpu_node, cut_cpu_node):
        assert online.slowest_s < UNDISTURBED_S
