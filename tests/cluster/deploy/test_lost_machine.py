"""HAProxy repeats a request whose replica was on a machine that lost its power. Root only."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ray.serve._private import haproxy as serve_haproxy

from tests.cluster.deploy.test_haproxy import REPLICA, folder, running, written
from tests.nodes.machines import Machine, Network, NoNamespaces, network
from tests.waiting import LONGEST_WAIT_S, Stopwatch

__all__ = ["folder"]

PORT = 30000
#: Answers health checks at once, and every other request after some time.
REPLICA_PROGRAM = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/-/healthz":
            time.sleep(1.5)
        self.send_response(200)
        self.send_header("content-length", str(len(sys.argv[1])))
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())

ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Handler).serve_forever()
"""


@pytest.fixture
def machines() -> Iterator[Network]:
    """A network without machines."""
    with tempfile.TemporaryDirectory(prefix="ec-") as private:
        try:
            with network(Path(private)) as made:
                yield made
        except NoNamespaces as exc:
            pytest.skip(str(exc))


def start(machine: Machine) -> serve_haproxy.ServerConfig:
    """Start a replica on the machine, and wait until it answers."""
    command = ["python", "-c", REPLICA_PROGRAM, machine.name, str(PORT)]
    machine.start(command, os.environ, machine.folder / "log")
    while True:
        try:
            httpx.get(f"http://{machine.address}:{PORT}/-/healthz", timeout=5)
            return serve_haproxy.ServerConfig(name=machine.name, host=machine.address, port=PORT)
        except httpx.HTTPError:
            time.sleep(0.05)


def test_requests_of_a_machine_without_power_go_to_another_one(folder: Path, machines: Network) -> None:
    lost, other = machines.add("lost"), machines.add("other")
    servers = [start(lost), start(other)]
    found: list[tuple[str, float]] = []
    with running(*written(folder, serve_haproxy.BackendConfig(REPLICA, "/", servers=servers))) as http:
        begun = Stopwatch()

        def ask() -> None:
            answer = httpx.get(http.base_url.join("/v1/models"), timeout=LONGEST_WAIT_S)
            found.append((answer.text, begun.seconds()))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.5)
        lost.lose_power()
        for client in clients:
            client.join()
    assert [text for text, _ in found] == ["other"] * 4
    assert max(seconds for _, seconds in found) < 12
