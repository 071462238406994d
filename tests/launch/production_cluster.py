"""A cluster as production runs it, on this machine: HAProxy, autoscaled replicas, two GPUs declared to Ray.

with production(settings) as cluster:
    cluster.replicas()
"""

import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.local import application
from cluster.local.addresses import LOOPBACK, RAY_LISTENERS, ports_of, request
from cluster.local.environment import MARK, head_environment
from cluster.local.processes import family, kill, wait_gone
from cluster.settings import Settings
from tests.conftest import ROOT, free_ports
from tests.running_cluster import environment_of
from tests.waiting import LONGEST_WAIT_S, until

DEPLOY = ROOT / "cluster" / "deploy"
GPUS = 2
REPLICA_PORTS = 40


@dataclass(frozen=True, slots=True)
class Production:
    """A running cluster that was started as in production."""

    settings: Settings
    folder: Path
    replica_ports: range
    haproxy_metrics_port: int

    @property
    def api(self) -> str:
        """Base URL of the endpoint."""
        return f"http://{LOOPBACK}:{self.settings.api_port}"

    def deploy(self, release: str) -> None:
        """Run ``serve deploy`` with the published configuration, this cluster's port and this release."""
        config = yaml.safe_load((DEPLOY / "serve.yaml").read_text())
        config["http_options"]["port"] = self.settings.api_port
        config["applications"][0]["args"] = {"release": release}
        file = self.folder / "serve.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [
            "serve",
            "deploy",
            "--address",
            f"http://{LOOPBACK}:{self.settings.dashboard_port}",
            str(file),
        ]
        subprocess.run(
            command,
            env=environment_of(self.settings),
            check=True,
            capture_output=True,
            timeout=LONGEST_WAIT_S,
        )

    def deployment(
        self, application: str = "embedding-cluster", deployment: str = "embedder"
    ) -> dict[str, Any]:
        """Serve's description of a deployment; empty while Serve imports a new one."""
        described = httpx.get(
            f"http://{LOOPBACK}:{self.settings.dashboard_port}/api/serve/applications/",
            timeout=LONGEST_WAIT_S,
        ).json()
        applications = described["applications"]
        found: dict[str, Any] = applications[application]["deployments"].get(deployment, {})
        return found

    def replicas(self, state: str = "RUNNING") -> dict[str, int]:
        """Replica id -> process id of each embedding replica in this state; 0 where a replica never had a
        process.
        """
        return self._processes(self.deployment(), state)

    def workers(self) -> dict[str, int]:
        """Replica id -> process id of each running worker."""
        return self._processes(self.deployment("workers", "worker"), "RUNNING")

    def _processes(self, deployment: dict[str, Any], state: str) -> dict[str, int]:
        replicas = deployment.get("replicas", [])
        return {
            replica["replica_id"]: replica.get("pid", 0) for replica in replicas if replica["state"] == state
        }

    def url_of(self, pid: int) -> str:
        """URL at which HAProxy reaches the replica with this process id."""
        listening = {
            connection.laddr.port
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.status == "LISTEN"
        }
        (port,) = listening & set(self.replica_ports)
        return f"http://{LOOPBACK}:{port}"

    def metrics(self) -> dict[str, float]:
        """Metrics of Ray and HAProxy on this node, as Prometheus reads them: name -> sum over all labels."""
        ports = ports_of(self.settings)["metrics_export"], self.haproxy_metrics_port
        pages = [
            httpx.get(f"http://{LOOPBACK}:{port}/metrics", timeout=LONGEST_WAIT_S).text for port in ports
        ]
        found: defaultdict[str, float] = defaultdict(float)
        for name, value in re.findall(r"^(\w+)\{.*\} (\S+)$", "\n".join(pages), flags=re.MULTILINE):
            found[name] += float(value)
        return found


@contextmanager
def production(settings: Settings) -> Iterator[Production]:
    """Start a cluster with the application, wait until it is ready, and remove all of it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ec-", dir="/tmp"))
    (first,), (metrics, stats, fallback) = free_ports(1, width=REPLICA_PORTS + 1), free_ports(3)
    cluster = Production(settings, folder, range(first, first + REPLICA_PORTS), metrics)
    environment = {
        **head_environment(settings, folder),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + REPLICA_PORTS),
        **{
            f"RAY_SERVE_HAPROXY_{name}": str(folder / "haproxy" / file)
            for name, file in HAPROXY_FILES.items()
        },
        # 30 s by default, for load balancers outside. Here HAProxy learns at once that a replica stops.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "4",
        "RAY_metrics_report_interval_ms": "1000",
    }
    open_pool(settings, access=OWNER).close()  # starts Postgres, which is no child of Ray's head
    log = (folder / "head.log").open("w")
    head = subprocess.Popen(
        ["bash", "-c", f"set -a; . {DEPLOY / 'ray.env'}; set +a; exec {' '.join(_start(settings, folder))}"],
        env=environment,
        cwd=settings.home,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        until(lambda: _takes_jobs(settings), what=f"Ray: {folder / 'head.log'}")
        application.deploy(settings, report=lambda _: None)
        yield cluster
    finally:
        head.terminate()
        remaining = wait_gone(family(MARK, str(folder), session=head.pid), 15)
        kill(remaining)
        assert wait_gone(remaining, 10) == []
        head.wait(LONGEST_WAIT_S)
        log.close()
        shutil.rmtree(folder)


#: Files of HAProxy. By default all of them lie in a folder that two clusters would share.
HAPROXY_FILES = {
    "CONFIG_FILE_LOC": "haproxy.cfg",
    "SOCKET_PATH": "admin.sock",
    "SERVER_STATE_BASE": "",
    "SERVER_STATE_FILE": "server-state",
    "METRICS_SOCKET_PATH": "metrics.sock",
}


def _start(settings: Settings, folder: Path) -> list[str]:
    ports = ports_of(settings)
    listeners = [f"--{name.replace('_', '-')}-port={ports[name]}" for name in RAY_LISTENERS[1:]]
    resources = ["--num-cpus=8", f"--num-gpus={GPUS}"]
    dashboard = [f"--dashboard-host={LOOPBACK}", f"--dashboard-port={ports['dashboard']}"]
    command = [
        "ray",
        "start",
        "--head",
        "--block",
        f"--node-ip-address={LOOPBACK}",
        f"--port={ports['gcs']}",
        f"--temp-dir={folder}",
    ]
    return [*command, *listeners, *dashboard, *resources]


def _takes_jobs(settings: Settings) -> bool:
    agent = ports_of(settings)["dashboard_agent_listen"]
    probes = {settings.dashboard_port: "/api/version", agent: "/api/local_raylet_healthz"}
    return all(request("GET", LOOPBACK, port, path)[0] == httpx.codes.OK for port, path in probes.items())
