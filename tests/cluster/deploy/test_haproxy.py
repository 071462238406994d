"""HAProxy, with Ray's configuration and our edits, answers in OpenAI's shape when no replica can."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
from ray.serve._private import haproxy as serve_haproxy
from ray.serve.config import HTTPOptions

from cluster.deploy import haproxy
from cluster.deploy.serve_config import ray_environment
from tests.conftest import free_ports
from tests.waiting import LONGEST_WAIT_S

REPLICA = "http-embedding-cluster"


class WaitingProxy(BaseHTTPRequestHandler):
    """Stands in for Serve's own proxy, where requests wait for a replica."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(b"waited")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def last_resort() -> Iterator[serve_haproxy.ServerConfig]:
    """Serve's own proxy, as HAProxy's backup server."""
    server = HTTPServer(("127.0.0.1", 0), WaitingProxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield serve_haproxy.ServerConfig(name="SERVE_PROXY_ACTOR-1", host="127.0.0.1", port=server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder for HAProxy's files, with a path short enough for sockets."""
    short = Path("/tmp") / f"ec-test-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
    short.symlink_to(tmp_path)
    yield short
    short.unlink()


def written(folder: Path, *backends: serve_haproxy.BackendConfig) -> tuple[Path, int]:
    """Return the configuration file that Ray writes, and the port of the endpoint."""
    api, metrics, stats = free_ports(3)
    config = serve_haproxy.HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=api),
        socket_path=str(folder / "a"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        metrics_socket_path=str(folder / "m"),
        metrics_port=metrics,
        stats_port=stats,
        has_received_routes=True,
        is_head=True,
        retry_on=ray_environment()["RAY_SERVE_HAPROXY_RETRY_ON"],
    )
    file = folder / "haproxy.cfg"
    serve_haproxy.HAProxyApi(
        config, {backend.name: backend for backend in backends}, str(file)
    )._generate_config_file_internal()
    return file, api


@contextmanager
def running(file: Path, port: int) -> Iterator[httpx.Client]:
    """Run HAProxy as Serve starts it, and yield a client of it."""
    variables = {
        **ray_environment(),
        haproxy.SWITCH: "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [haproxy.PROGRAM, "-db", "-f", file, "-dR"]
    process = subprocess.Popen(command, env={**os.environ, **variables}, stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LONGEST_WAIT_S) as client:
            while True:
                assert process.poll() is None, process.communicate()[1]
                try:
                    client.get("/-/routes")
                    break
                except httpx.ConnectError:
                    time.sleep(0.02)
            listening = {
                one.laddr.ip
                for one in psutil.Process(process.pid).net_connections("tcp")
                if one.status == psutil.CONN_LISTEN
            }
            assert listening == {"127.0.0.1"}
            yield client
    finally:
        process.terminate()
        process.communicate()


def unavailable(answer: httpx.Response) -> str:
    """Return the message of a 503 in OpenAI's shape."""
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["openai-processing-ms"] == "0"
    error: dict[str, str] = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "unavailable")
    return error["message"]


def test_every_path_is_503_until_the_application_is_deployed(folder: Path) -> None:
    with running(*written(folder)) as http:
        for answer in (
            http.get("/v1/models"),
            http.post("/v1/embeddings", json={}),
            http.get("/readyz"),
            http.delete("/"),
        ):
            assert "starting" in unavailable(answer)
            assert answer.headers["x-request-id"]


def test_requests_wait_for_a_replica_only_after_the_first_one_existed(
    folder: Path, last_resort: serve_haproxy.ServerConfig
) -> None:
    replica = serve_haproxy.ServerConfig(name="SERVE_REPLICA-1", host="127.0.0.1", port=free_ports(1)[0])
    loading, dead = (
        serve_haproxy.BackendConfig(REPLICA, "/", servers=servers, fallback_server=last_resort)
        for servers in ([], [replica])
    )
    with running(*written(folder, loading)) as http:
        assert "starting" in unavailable(http.get("/v1/models"))
    with running(*written(folder, dead)):
        pass
    with running(*written(folder, loading)) as http:
        assert http.get("/v1/models").text == "waited"
        assert http.post("/v1/embeddings", json={}).text == "waited"


def test_requests_wait_for_the_first_replica_if_the_endpoint_may_have_none(
    folder: Path, last_resort: serve_haproxy.ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(haproxy.MIN_REPLICAS, "0")
    idle = serve_haproxy.BackendConfig(REPLICA, "/", servers=[], fallback_server=last_resort)
    with running(*written(folder, idle)) as http:
        assert http.post("/v1/embeddings", json={}).text == "waited"


def test_errors_of_haproxy_have_the_shape_of_all_others(folder: Path) -> None:
    dead = serve_haproxy.ServerConfig(name="SERVE_REPLICA-1", host="127.0.0.1", port=free_ports(1)[0])
    with running(*written(folder, serve_haproxy.BackendConfig(REPLICA, "/", servers=[dead]))) as http:
        assert "no replica" in unavailable(http.get("/v1/models"))


def test_a_configuration_of_another_template_is_refused(tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").write_text("global\n")
    refused = subprocess.run(
        [sys.executable, haproxy.PROGRAM, "-f", tmp_path / "haproxy.cfg"], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "cannot edit the HAProxy configuration of this release of Ray" in refused.stderr
