"""A cloud of the tests, from which Ray's autoscaler orders nodes over HTTP.

    with cloud(cluster, {"gpu": NodeGroup(cpus=2, gpus=1, most=2)}, idle_s=30) as file:
        cluster.start_head(autoscaling_config=file)

The autoscaler runs on the head, in another process and network namespace. It imports
``tests.nodes.cloud_provider.CloudProvider``.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

from tests.nodes.cloud_provider import READY, CloudProvider
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


@dataclass(frozen=True, kw_only=True)
class NodeGroup:
    """A kind of node that the autoscaler may order."""

    cpus: int
    gpus: int
    most: int


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
            "module": f"{CloudProvider.__module__}.{CloudProvider.__name__}",
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
