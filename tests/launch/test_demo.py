"""``make demo`` on a machine where nothing runs: it ends as it began."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from cluster.local import ray_head
from cluster.settings import Settings
from tests.conftest import ROOT, NewHome
from tests.launch.conftest import environment_of, local

pytestmark = [pytest.mark.launch, pytest.mark.timeout(300)]


def demo(settings: Settings) -> "subprocess.Popen[str]":
    """``make demo``, started; the environment is this one, which need not be ``.venv``."""
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.local.demo"],
        cwd=ROOT, env=environment_of(settings), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def settings(new_home: NewHome) -> Settings:
    """A cluster of the demo's own."""
    return new_home("demo")


def test_the_demo_answers_from_the_handbook_and_stops_what_it_started(settings: Settings) -> None:
    output, _ = (running := demo(settings)).communicate(timeout=240)

    assert running.returncode == 0, output
    assert "0 failed" in output
    for file in ("operating.pdf, page ", "recovery.pdf, page 1"):
        assert file in output
    assert "Two clusters on one machine" in output
    assert local("status", settings).returncode == 3
    assert ray_head.recorded(settings) is None


def test_interrupted_it_stops_what_it_started(settings: Settings) -> None:
    running = demo(settings)
    deadline = time.monotonic() + 120
    while ray_head.running(settings) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    head = ray_head.running(settings)

    running.send_signal(signal.SIGINT)
    running.communicate(timeout=120)

    assert running.returncode == 130
    assert head is not None
    assert not psutil.pid_exists(head.pid) or psutil.Process(head.pid).status() == psutil.STATUS_ZOMBIE
    assert ray_head.recorded(settings) is None
    assert local("status", settings).returncode == 3
