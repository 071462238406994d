"""``make demo`` starts a cluster and stops it again. Another cluster of the same machine stays untouched."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import psutil
import pytest

from cluster.answers.extractive import LABEL
from cluster.local import ray_head
from cluster.local.addresses import ports_of
from cluster.settings import Settings
from tests.conftest import ROOT, NewHome
from tests.running_cluster import RunningCluster, environment_of, local, pids
from tests.waiting import LONGEST_COMMAND_S, LONGEST_WAIT_S, until

pytestmark = pytest.mark.launch


def demo(settings: Settings) -> "subprocess.Popen[str]":
    """Start what ``make demo`` runs, with the Python of the tests."""
    return started(settings, "cluster.local.demo")


def started(settings: Settings, *command: str) -> "subprocess.Popen[str]":
    """Start a module with the Python of the tests."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment_of(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def head_of(settings: Settings) -> ray_head.Head:
    """The cluster's Ray head, as soon as it runs."""
    until(lambda: ray_head.running(settings) is not None, what="Ray")
    head = ray_head.running(settings)
    assert head is not None
    return head


@pytest.fixture
def settings(new_home: NewHome) -> Settings:
    """Settings of the cluster that the demo starts."""
    return new_home("demo")


def test_the_demo_answers_from_the_handbook_and_stops_what_it_started(
    settings: Settings, running_cluster: RunningCluster
) -> None:
    neighbour = pids(running_cluster.settings)
    running = demo(settings)
    head = head_of(settings)
    output, _ = running.communicate(timeout=LONGEST_COMMAND_S)

    assert running.returncode == 0, output
    assert "0 failed" in output
    for file in ("operating.pdf, page ", "recovery.pdf, page 1"):
        assert file in output
    assert "Two clusters on one machine" in output
    assert " ".join(LABEL.split()) in " ".join(output.split())  # an agent has streamed an answer
    assert "agent:demo" in output
    assert_gone(settings, head)
    assert local("down", settings).returncode == 0
    assert pids(running_cluster.settings) == neighbour
    assert httpx.get(f"{running_cluster.api}/readyz", timeout=LONGEST_WAIT_S).status_code == httpx.codes.OK


def test_an_interrupted_demo_stops_what_it_started(settings: Settings) -> None:
    running = demo(settings)
    head = head_of(settings)

    running.send_signal(signal.SIGINT)
    running.communicate(timeout=LONGEST_WAIT_S)

    assert running.returncode == 130
    assert_gone(settings, head)


def test_a_container_that_is_stopped_stops_its_cluster(settings: Settings) -> None:
    running = started(settings, "cluster.local", "up", "--stay")
    head = head_of(settings)

    running.terminate()
    output, _ = running.communicate(timeout=LONGEST_WAIT_S)

    assert running.returncode == 0, output
    assert_gone(settings, head)


def assert_gone(settings: Settings, head: ray_head.Head) -> None:
    """Check that nothing of the cluster remains but its data."""
    assert local("status", settings).returncode == 3
    assert ray_head.recorded(settings) is None
    assert Path(head.folder).is_relative_to(Path(tempfile.gettempdir()).resolve())
    assert not Path(head.folder).exists()
    assert mentioning(settings.home) == []
    assert [name for name, port in ports_of(settings).items() if answers(port)] == []
    assert {path.name for path in settings.home.iterdir()} <= {
        "postgres",
        "logs",
        "handbook",
        "engines",
        "usage",
        "postgres.lock",
        "local.lock",
    }


def mentioning(home: Path) -> list[str]:
    """Command lines of other live processes whose environment or current folder names the cluster's home."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            named = f"CLUSTER_HOME={home}".encode() in environment or str(home) in process.cwd()
            if named and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


def answers(port: int) -> bool:
    """True when a process of this machine listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
