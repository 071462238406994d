"""A cloud of the tests, from which Ray's autoscaler orders nodes over HTTP, and the client that Ray loads.

    with cloud(cluster, {"gpu": NodeGroup(cpus=2, gpus=1, most=2)}, idle_s=30) as file:
        cluster.start_head(autoscaling_config=file)

The autoscaler runs on the head, in another process and network namespace. It imports ``CloudProvider``.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_NODE_STATUS, TAG_RAY_USER_NODE_TYPE

from tests.nodes.node_cluster import NodeCluster
from tests.simulators.http_server import SimulatorHandler, SimulatorServer, running

HEAD = "ray.head.default"
#: Lists of the configuration that the autoscaler requires. They concern nodes that Ray sets up over ssh.
UNUSED = (
    "cluster_synced_files",
    "rsync_exclude",
    "rsync_filter",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
READY = {TAG_RAY_NODE_STATUS: "up-to-date"}


@dataclass(frozen=True, kw_only=True)
class NodeGroup:
    """A kind of node that the autoscaler may order."""

    cpus: int
    gpus: int
    most: int


class CloudProvider(NodeProvider):
    """Ray's client of the cloud. The autoscaler calls it every second."""

    def non_terminated_nodes(self, tag_filters: Mapping[str, str]) -> list[str]:
        """Return the ids of the nodes with these tags."""
        nodes = self._get()
        return [id for id, node in nodes.items() if tag_filters.items() <= node["tags"].items()]

    def is_running(self, node_id: str) -> bool:
        """Return True for a node that the cloud has."""
        return node_id in self._get()

    def is_terminated(self, node_id: str) -> bool:
        """Return True for a node that the cloud does not have."""
        return node_id not in self._get()

    def node_tags(self, node_id: str) -> dict[str, str]:
        """Return the tags of the node."""
        tags: dict[str, str] = self._get().get(node_id, {}).get("tags", {})
        return tags

    def internal_ip(self, node_id: str) -> str:
        """Return the address of the node."""
        address: str = self._get()[node_id]["address"]
        return address

    def external_ip(self, node_id: str) -> str:
        """Return the address of the node."""
        return self.internal_ip(node_id)

    def set_node_tags(self, node_id: str, tags: Mapping[str, str]) -> None:
        """Change nothing: a node has its tags from the beginning."""

    def create_node_with_resources_and_labels(
        self, node_config: Any, tags: dict[str, str], count: int, resources: dict[str, float], labels: Any
    ) -> None:
        """Order nodes."""
        for _ in range(count):
            httpx.post(self._url, json={"tags": {**tags, **READY}, "resources": resources}, timeout=60)

    def terminate_node(self, node_id: str) -> None:
        """Give a node back."""
        httpx.delete(f"{self._url}/{node_id}", timeout=60)

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration as it is."""
        return cluster_config

    @property
    def _url(self) -> str:
        url: str = self.provider_config["url"]
        return url

    def _get(self) -> dict[str, dict[str, Any]]:
        nodes: dict[str, dict[str, Any]] = httpx.get(self._url, timeout=60).json()
        return nodes


class CloudServer(SimulatorServer):
    """The cloud: starts and ends nodes of the cluster."""

    def __init__(self, cluster: NodeCluster) -> None:
        super().__init__((cluster.network.address, 0), CloudHandler)
        self.cluster = cluster
        head = {TAG_RAY_NODE_KIND: "head", TAG_RAY_USER_NODE_TYPE: HEAD, **READY}
        #: Tags of each node, by its name.
        self.tags: dict[str, dict[str, str]] = {"head": head}

    @property
    def url(self) -> str:
        """The URL of the nodes."""
        return f"http://{self.cluster.network.address}:{self.server_address[1]}/nodes"


class CloudHandler(SimulatorHandler):
    """Answers the requests of ``CloudProvider``."""

    server: CloudServer

    def do_GET(self) -> None:
        """List the nodes."""
        address = {name: node.machine.address for name, node in self.server.cluster.nodes.items()}
        self._answer(
            {
                name: {"tags": tags, "address": address.get(name, "")}
                for name, tags in dict(self.server.tags).items()
            }
        )

    def do_POST(self) -> None:
        """Start a node."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        group = asked["tags"][TAG_RAY_USER_NODE_TYPE]
        name = f"{group}-{len(self.server.tags)}"
        resources = asked["resources"]
        self.server.cluster.add(name, cpus=int(resources["CPU"]), gpus=int(resources.get("GPU", 0)))
        self.server.tags[name] = asked["tags"]
        self._answer({})

    def do_DELETE(self) -> None:
        """End a node."""
        name = self.path.rpartition("/")[2]
        if self.server.tags.pop(name, None) is not None:
            self.server.cluster.node(name).end()
        self._answer({})

    def _answer(self, value: object) -> None:
        self.send_json(200, json.dumps(value).encode(), {})


@contextmanager
def cloud(cluster: NodeCluster, groups: Mapping[str, NodeGroup], *, idle_s: float) -> Iterator[Path]:
    """Run the cloud; return the file with the configuration of the autoscaler.

    Args:
        groups: the kinds of nodes, by name. The cluster has no node of them at first.
        idle_s: time after which the autoscaler gives an idle node back.
    """
    server = CloudServer(cluster)
    kinds: dict[str, Any] = {HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}}
    for name, group in groups.items():
        resources = {"CPU": group.cpus, "GPU": group.gpus}
        kinds[name] = {
            "resources": resources,
            "node_config": {},
            "min_workers": 0,
            "max_workers": group.most,
        }
    config = {
        "cluster_name": "nodes",
        "max_workers": sum(group.most for group in groups.values()),
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": idle_s / 60,
        "provider": {
            "type": "external",
            "module": f"{__name__}.{CloudProvider.__name__}",
            "url": server.url,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "auth": {},
        "available_node_types": kinds,
        "head_node_type": HEAD,
        "file_mounts": {},
        **{name: [] for name in UNUSED},
    }
    with running(server):
        file = cluster.folder / "head" / "autoscaling.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(config))
        yield cluster.folder / file.name
