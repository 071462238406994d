"""``down`` ends the commands that work on its cluster, and nobody who merely has the number of one."""

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

COMMAND = """
import json, signal, sys, time
from cluster.local.drivers import registered
from cluster.local.ray_head import Head

def end(*_):
    print("told", flush=True)
    sys.exit(1)

signal.signal(signal.SIGTERM, end)
with registered(Head(**json.loads(sys.argv[1]))):
    print("at work", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def head(tmp_path: Path) -> Head:
    """As a home has recorded it."""
    head = Head(pid=1, started=0, folder=str(tmp_path), ports={}, settings="")
    (tmp_path / "ray-head.json").write_text(json.dumps(asdict(head)))
    return head


@pytest.fixture
def command(head: Head) -> Iterator["subprocess.Popen[str]"]:
    """One at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, json.dumps(asdict(head))], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    yield process
    process.kill()
    process.communicate()


def test_a_command_at_work_is_told_and_waited_for(
    head: Head, command: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    said: list[str] = []
    drivers.end(Settings(home=tmp_path), said.append)
    assert command.communicate(timeout=1) == ("told\n", None)
    assert command.returncode == 1
    assert said == ["Ending 1 running command; documents already written stay"]
    assert list(tmp_path.glob("drivers/*")) == []


def test_nobody_else_is(head: Head, command: "subprocess.Popen[str]", tmp_path: Path) -> None:
    """The number of a command that ended was given to another, a file was cut short, and the caller itself is at work."""
    (file,) = tmp_path.glob("drivers/*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "started": 1.0}))
    (tmp_path / "drivers" / "2.json").write_text('{"pid": ')
    said: list[str] = []
    with drivers.registered(head):
        assert (tmp_path / "drivers" / f"{os.getpid()}.json").exists()
        drivers.end(Settings(home=tmp_path), said.append)
    assert (command.poll(), said) == (None, [])
    drivers.end(Settings(home=tmp_path / "never started"), said.append)
