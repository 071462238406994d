"""``down`` ends the commands that work on its cluster, and no other process with the id of one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from cluster.local import drivers
from cluster.local.ray_head import Head
from cluster.settings import Settings
from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S

COMMAND = """
import json, signal, sys, time
from cluster.local.drivers import registered
from cluster.local.ray_head import Head

def end(*_):
    print("ending", flush=True)
    sys.exit(1)

signal.signal(signal.SIGTERM, end)
with registered(Head(**json.loads(sys.argv[1]))):
    print("at work", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def head(tmp_path: Path) -> Head:
    """A recorded head of the home ``tmp_path``."""
    head = Head(pid=1, started=0, folder=str(tmp_path), ports={}, settings="")
    (tmp_path / "ray-head.json").write_text(json.dumps(asdict(head)))
    return head


@pytest.fixture
def command(head: Head) -> Iterator["subprocess.Popen[str]"]:
    """A registered command that runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, json.dumps(asdict(head))], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    yield process
    process.kill()
    process.communicate()


def test_a_running_command_gets_sigterm_and_is_waited_for(
    head: Head, command: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    lines: list[str] = []
    drivers.end(Settings(home=tmp_path), lines.append)
    assert command.communicate(timeout=LONGEST_WAIT_S) == ("ending\n", None)
    assert command.returncode == 1
    assert lines == ["Ending 1 running command; documents already written stay"]
    assert list(tmp_path.glob("drivers/*")) == []


def test_other_processes_are_left_alone(head: Head, command: "subprocess.Popen[str]", tmp_path: Path) -> None:
    """A process with a reused id, a truncated registration and the caller itself are left alone."""
    (file,) = tmp_path.glob("drivers/*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "started": 1.0}))
    (tmp_path / "drivers" / "2.json").write_text('{"pid": ')
    lines: list[str] = []
    with drivers.registered(head):
        assert (tmp_path / "drivers" / f"{os.getpid()}.json").exists()
        drivers.end(Settings(home=tmp_path), lines.append)
    assert (command.poll(), lines) == (None, [])
    drivers.end(Settings(home=tmp_path / "never started"), lines.append)
