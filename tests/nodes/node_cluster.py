"""A cluster of several nodes of Ray on one machine, each in a network namespace, started as in production.

    with node_cluster(settings) as cluster:
        cluster.add("cpu-1", cpus=2)
        cluster.add("gpu-1", cpus=2, gpus=1)
        cluster.deploy()
        cluster.node("gpu-1").machine.lose_power()

The GPUs are only declared to Ray, and the engine sleeps (``tests.nodes.sleeping_engine``). Every node runs
``ray start`` with ``cluster/deploy/ray.env`` and the settings as variables. The head keeps its state in
RocksDB. ``ray.cluster_utils`` is not used: its AutoscalingCluster begins with ``ray stop``, which ends every
Ray of the machine, and all nodes of its Cluster share one address, so that no network can be cut.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.deploy.gpu_nodes import ACCELERATOR
from cluster.deploy.serve_config import ray_environment, serve_config
from cluster.local.environment import MARK, WITHOUT_TOKENS, settings_variables
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from tests.conftest import FOREIGN_PREFIXES, ROOT
from tests.keys_in_output import marked_key
from tests.nodes import sleeping_engine
from tests.nodes.machines import Machine, Network, network

STARTUP = Path(__file__).with_name("startup")
GCS_PORT, DASHBOARD_PORT, API_PORT = 6379, 8265, 8000
OBJECT_STORE_BYTES = 100 * 1024 * 1024
#: Each new client of httpx would load the certificates of the system. A connection serves one request,
#: because machines lose their power.
HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
#: Ray does without what no test looks at: metrics of nodes, and workers that start before there are tasks.
#: Five nodes then start with fewer processes on the processors of one machine.
LIGHT = {
    "RAY_enable_metrics_collection": "0",
    "RAY_prestart_worker_first_driver": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    "RAY_memory_monitor_refresh_ms": "0",  # each node would see the memory of the whole machine
}
#: Time for a step that takes 20 s on a machine at rest: it only keeps a broken test from waiting forever.
LONGEST_S = 600.0
#: Number of attempts to start the head.
MOST_STARTS = 5
POLL_S = 0.2


@dataclass
class Node:
    """A node of Ray on a machine of its own."""

    machine: Machine
    #: The options of ``ray start`` on this node.
    options: list[str]
    #: Variables of this node only.
    variables: dict[str, str]
    process: psutil.Popen

    @property
    def api(self) -> str:
        """Base URL of the HAProxy on this node."""
        return f"http://{self.machine.address}:{API_PORT}"

    def end(self) -> None:
        """End every program of the node, also a stopped one."""
        self.machine.kill()
        self.process.wait()


@dataclass
class NodeCluster:
    """Nodes of Ray that share a Postgres, a folder for blobs and a Serve application."""

    settings: Settings
    network: Network
    folder: Path
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def head(self) -> Node:
        """The head, which runs no replica."""
        return self.nodes["head"]

    def node(self, name: str) -> Node:
        """Return the node with this name."""
        return self.nodes[name]

    def start_head(self, **options: object) -> Node:
        """Start the head with these options of ``ray start``, and wait until its dashboard answers."""
        command = ["--head", f"--port={GCS_PORT}", "--dashboard-host=0.0.0.0", f"--temp-dir={self.folder}"]
        command += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        node = self._start("head", command, cpus=0, gpus=0, variables={})
        self._until_head_is_ready()
        return node

    def add(self, name: str, *, cpus: int, gpus: int = 0, **variables: str) -> Node:
        """Start another node with these resources and variables. It joins within seconds."""
        command = [f"--address={self.head.machine.address}:{GCS_PORT}"]
        command += [f"--labels={ACCELERATOR}=L4"] if gpus else []
        return self._start(name, command, cpus=cpus, gpus=gpus, variables=variables)

    def until_joined(self, *names: str) -> float:
        """Wait until these nodes, or all nodes, have joined the cluster."""
        wanted = {self.nodes[name].machine.address for name in names or self.nodes}
        return self.until(lambda: wanted <= self.alive(), f"the nodes {names or 'of the cluster'} to join")

    def alive(self) -> set[str]:
        """Return the addresses of the nodes that Ray counts as alive."""
        return {address_of(node) for node in self._nodes()}

    def restart(self, name: str) -> Node:
        """Start a node again after ``kill`` or ``lose_power``."""
        node = self.nodes[name]
        node.machine.heal()
        node.process = self._launch(node.machine, node.options, node.variables)
        if node is self.head:
            self._until_head_is_ready()
        return node

    def _until_head_is_ready(self) -> None:
        """Start the head until its dashboard answers, because ``ray start`` gives up after 30 s."""
        head, starts = self.head, count(2)

        def is_ready() -> bool:
            if head.process.poll() is not None:
                assert next(starts) <= MOST_STARTS, (self.folder / "head.log").read_text()[-5_000:]
                head.end()
                head.process = self._launch(head.machine, head.options, head.variables)
            return self._answers()

        self.until(is_ready, "the dashboard of the head")

    def repair(self) -> None:
        """Connect every machine again, and start every node again that has ended."""
        if self.head.process.poll() is not None:
            self.restart("head")
        self.until(self._answers, "the dashboard of Ray")
        for name, node in self.nodes.items():
            node.machine.signal(signal.SIGCONT)
            node.machine.heal()
            if node.process.poll() is not None or node.machine.address not in self.alive():
                node.end()
                self.restart(name)
        wanted = sorted(node.machine.address for node in self.nodes.values())
        self.until(
            lambda: sorted(map(address_of, self._nodes())) == wanted,
            "each node to be there once, without the node that it replaces",
        )

    def drain(self, name: str, *, deadline_s: int) -> None:
        """Let Ray move all work away from the node, which ends after the deadline."""
        (id,) = [
            node["raylet"]["nodeId"]
            for node in self._nodes()
            if address_of(node) == self.nodes[name].machine.address
        ]
        command = [
            "ray",
            "drain-node",
            f"--address={self.head.machine.address}:{GCS_PORT}",
            f"--node-id={id}",
        ]
        command += ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=test"]
        command += [f"--deadline-remaining-seconds={deadline_s}"]
        log = self.folder / "drain.log"
        draining = self.nodes[name].machine.start(command, self.environment(), log)
        assert draining.wait(LONGEST_S) == 0, log.read_text()

    def deploy(self, release: str = "1") -> None:
        """Deploy the applications, or another release of them, and return before they are ready."""
        config = serve_config(self.settings.model_copy(update={"api_host": "0.0.0.0", "api_port": API_PORT}))
        for application in config["applications"]:
            application["args"] = {"release": release}

        def accepted() -> bool:  # Serve fails once while it replaces a proxy that starts slowly
            url = f"{self._dashboard}/api/serve/applications/"
            answer = HTTP.put(url, json=config, timeout=LONGEST_S)
            assert answer.is_success or answer.is_server_error, answer.text[-2_000:]
            return answer.is_success

        self.until(accepted, "Serve to take the applications")

    def until_ready(self, api: str, *, within_s: float = LONGEST_S) -> float:
        """Wait until the endpoint at this URL takes requests."""
        return self.until(lambda: answers(f"{api}/readyz"), f"{api} to be ready", within_s=within_s)

    def application(self, name: str) -> str:
        """Return the state of the Serve application, such as ``RUNNING``."""
        described = self._ask_dashboard("/api/serve/applications/")
        state: str = described["applications"].get(name, {}).get("status", "")
        return state

    def replicas(self, application: str, deployment: str) -> list[dict[str, Any]]:
        """Return Serve's description of each running replica of the deployment."""
        described = self._ask_dashboard("/api/serve/applications/")
        found = described["applications"].get(application, {}).get("deployments", {}).get(deployment, {})
        return [one for one in found.get("replicas", []) if one["state"] == "RUNNING"]

    def replica_nodes(self, application: str, deployment: str) -> list[str]:
        """Return the names of the nodes with the running replicas of the deployment."""
        by_address = {node.machine.address: name for name, node in self.nodes.items()}
        return sorted(by_address[one["node_ip"]] for one in self.replicas(application, deployment))

    def environment(self, variables: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment of ``ray start`` and of commands on a node."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
        haproxy = {
            "SOCKET_PATH": "a",
            "METRICS_SOCKET_PATH": "m",
            "CONFIG_FILE_LOC": "haproxy.cfg",
            "SERVER_STATE_BASE": "",
            "SERVER_STATE_FILE": "server-state",
        }
        return {
            **own,
            **settings_variables(self.settings),
            **ray_environment(),
            **LIGHT,
            **WITHOUT_TOKENS,
            **{f"RAY_SERVE_HAPROXY_{name}": str(self.folder / file) for name, file in haproxy.items()},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(STARTUP), str(ROOT)]),
            "RAY_gcs_storage": "rocksdb",
            "RAY_gcs_storage_path": str(self.folder / "gcs"),
            MARK: str(self.folder),
            **(variables or {}),
        }

    def until(self, condition: Callable[[], bool], what: str, *, within_s: float = LONGEST_S) -> float:
        """Wait until the condition holds, and return the seconds that took. Fail after ``within_s``."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < within_s, f"waited {within_s:g} s for {what}: {self.folder}"
            time.sleep(POLL_S)
        return time.monotonic() - started

    @property
    def _dashboard(self) -> str:
        return f"http://{self.head.machine.address}:{DASHBOARD_PORT}"

    def _nodes(self) -> list[dict[str, Any]]:
        found = self._ask_dashboard("/nodes?view=summary")["data"]["summary"]
        return [node for node in found if node["raylet"].get("state") == "ALIVE"]

    def _ask_dashboard(self, path: str) -> Any:
        """Return the JSON of the dashboard. Ask again while it answers nothing, as after its start."""
        found: list[httpx.Response] = []

        def answered() -> bool:
            try:
                found.append(HTTP.get(f"{self._dashboard}{path}", timeout=30))
            except httpx.HTTPError:
                return False
            return found[-1].status_code == httpx.codes.OK

        self.until(answered, f"{path} of the dashboard")
        return found[-1].json()

    def _answers(self) -> bool:
        return answers(f"{self._dashboard}/api/version")

    def _start(
        self, name: str, options: list[str], *, cpus: int, gpus: int, variables: dict[str, str]
    ) -> Node:
        machine = self.network.add(name)
        options = [*options, f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        node = Node(machine, options, variables, self._launch(machine, options, variables))
        self.nodes[name] = node
        return node

    def _launch(self, machine: Machine, options: list[str], variables: dict[str, str]) -> psutil.Popen:
        return machine.start(
            [
                "ray",
                "start",
                "--block",
                "--disable-usage-stats",
                "--include-log-monitor=False",
                f"--node-ip-address={machine.address}",
                f"--object-store-memory={OBJECT_STORE_BYTES}",
                *options,
            ],
            self.environment(variables),
            self.folder / f"{machine.name}.log",
        )


@contextmanager
def node_cluster(settings: Settings) -> Iterator[NodeCluster]:
    """Make a network with a Postgres that its machines reach. All of it is removed at the end.

    Args:
        settings: settings of a home without a running Postgres.

    Raises:
        NoNamespaces: this user or this kernel cannot make network namespaces.
    """
    folder = Path(tempfile.mkdtemp(prefix="ecn-", dir="/tmp"))
    with network(folder) as made:
        url = _open_to(settings, made)
        model = Table({sleeping_engine.NAME: ModelSetting(source=sleeping_engine.SOURCE)})
        changed = {
            "database_url": SecretStr(url),
            "api_key": SecretStr(marked_key("key-")),
            "models": settings.models or model,
            "model": sleeping_engine.NAME,
        }
        cluster = NodeCluster(settings.model_copy(update=changed), made, folder)
        try:
            yield cluster
        finally:
            for node in cluster.nodes.values():
                node.end()
            shutil.rmtree(folder)


def _open_to(settings: Settings, network: Network) -> str:
    """Let the Postgres of this home listen on the network, too, and return its URL there."""
    bundled.start(settings)
    with open_pool(settings, access=OWNER) as pool, pool.connection() as connection:
        connection.autocommit = True
        connection.execute(f"ALTER SYSTEM SET listen_addresses = '127.0.0.1, {network.address}'")
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
    with Path(row[0]).open("a") as file:
        file.write(f"host all all {network.prefix}.0/24 scram-sha-256\n")
    bundled.stop(settings)
    return bundled.start(settings).replace("127.0.0.1", network.address)


def address_of(node: dict[str, Any]) -> str:
    """Return the address of a node that the dashboard describes."""
    address: str = node["raylet"]["nodeManagerAddress"]
    return address


def answers(url: str) -> bool:
    """True if the URL answers with status 200."""
    try:
        return HTTP.get(url, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
