"""``make demo`` on a machine where none of this cluster runs, but another one: it ends as it began, and the other notices nothing."""

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

from cluster.local import ray_head
from cluster.local.addresses import ports_of
from cluster.settings import Settings
from tests.conftest import ROOT, NewHome
from tests.launch.production_cluster import await_true
from tests.running_cluster import RunningCluster, environment_of, local, pids

pytestmark = [pytest.mark.launch, pytest.mark.timeout(300)]


def demo(settings: Settings) -> "subprocess.Popen[str]":
    """``make demo``, started; the environment is this one, which need not be ``.venv``."""
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.local.demo"],
        cwd=ROOT, env=environment_of(settings), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def head_of(settings: Settings) -> ray_head.Head:
    """Its Ray, as soon as it runs."""
    await_true(lambda: ray_head.running(settings) is not None, "Ray", timeout_s=120)
    head = ray_head.running(settings)
    assert head is not None
    return head


@pytest.fixture
def settings(new_home: NewHome) -> Settings:
    """A cluster of the demo's own."""
    return new_home("demo")


def test_the_demo_answers_from_the_handbook_and_stops_what_it_started(
    settings: Settings, running_cluster: RunningCluster
) -> None:
    neighbour = pids(running_cluster.settings)
    running = demo(settings)
    head = head_of(settings)
    output, _ = running.communicate(timeout=240)

    assert running.returncode == 0, output
    assert "0 failed" in output
    for file in ("operating.pdf, page ", "recovery.pdf, page 1"):
        assert file in output
    assert "Two clusters on one machine" in output
    assert_gone(settings, head)
    assert local("down", settings).returncode == 0
    assert pids(running_cluster.settings) == neighbour
    assert httpx.get(f"{running_cluster.api}/readyz").status_code == httpx.codes.OK


def test_interrupted_it_stops_what_it_started(settings: Settings) -> None:
    running = demo(settings)
    head = head_of(settings)

    running.send_signal(signal.SIGINT)
    running.communicate(timeout=120)

    assert running.returncode == 130
    assert_gone(settings, head)


def assert_gone(settings: Settings, head: ray_head.Head) -> None:
    """Nothing is left of it but its data."""
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
        "postgres.lock",
        "local.lock",
    }


def mentioning(home: Path) -> list[str]:
    """Command lines of live processes, other than this one, that know the cluster's home."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            known = f"CLUSTER_HOME={home}".encode() in environment or str(home) in process.cwd()
            if known and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


def answers(port: int) -> bool:
    """True when somebody listens on the port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
