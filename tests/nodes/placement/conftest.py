"""A cluster of Ray with nodes with and without GPUs, in which the tests place deployments and stages.

The GPUs are declared to Ray only. The label of a card is the one that Ray gives to a node with this card.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray
from ray import serve
from ray.cluster_utils import Cluster

from cluster.deploy.gpu_nodes import ACCELERATOR
from tests.conftest import ROOT
from tests.nodes import sleeping_engine
from tests.nodes.placement.placed_replica import PlacedReplica

STARTUP = ROOT / "tests" / "nodes" / "startup"
GIB = 2**30
#: Name of the Serve application with the replicas of a test.
APPLICATION = "placed"


class Fleet:
    """The nodes of the cluster by the names that the tests give them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._names: dict[str, str] = {}
        self._nodes: list[Any] = []
        self._deployed = False

    def add(self, name: str, *, cpus: int, gpus: int = 0, memory_gib: int = 64) -> None:
        """Start a node."""
        labels = {ACCELERATOR: "H100"} if gpus else {}
        node = self._cluster.add_node(
            num_cpus=cpus,
            num_gpus=gpus,
            memory=memory_gib * GIB,
            labels=labels,
            object_store_memory=GIB // 10,
        )
        self._names[node.node_id] = name
        self._nodes.append(node)

    def deploy(self, *deployments: dict[str, Any]) -> None:
        """Deploy replicas that do nothing, with these options of deployments. Do not wait for them."""
        first, *others = (serve.deployment(**options)(PlacedReplica) for options in deployments)
        application = first.bind(*(one.bind() for one in others))
        serve._run(application, name=APPLICATION, route_prefix=None, _blocking=False)
        self._deployed = True

    def lose(self, name: str) -> None:
        """Kill the processes of a node."""
        (node,) = [node for node in self._nodes if self._names[node.node_id] == name]
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def clear(self) -> None:
        """Delete the deployments and stop all nodes but the head."""
        if self._deployed:
            serve.delete(APPLICATION)
        while self._nodes:
            self._cluster.remove_node(self._nodes.pop())

    def name(self, node_id: str) -> str:
        """Return the name of the node with this id of Ray."""
        return self._names.get(node_id, "head")

    def replicas(self, deployment: str) -> list[str]:
        """Return the names of the nodes with the live replicas of a deployment, in alphabetical order."""
        return sorted(
            self.name(actor["Address"]["NodeID"])
            for actor in ray._private.state.actors().values()
            if actor["State"] == "ALIVE" and f"#{deployment}#" in actor["Name"]
        )


@contextmanager
def running_fleet() -> Iterator[Fleet]:
    """Start a head without CPUs, connect this process to it, and stop all nodes at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(STARTUP), str(ROOT)]))
        patch.setitem(sleeping_engine.KINDS, sleeping_engine.KIND, sleeping_engine.SleepingKind())
        head: dict[str, Any] = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": GIB // 10}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            yield Fleet(cluster)
        finally:
            serve.shutdown()
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture(scope="module")
def running() -> Iterator[Fleet]:
    """The fleet of all tests of a module."""
    with running_fleet() as made:
        yield made


@pytest.fixture
def fleet(running: Fleet) -> Iterator[Fleet]:
    """A fleet with a head only."""
    yield running
    running.clear()
