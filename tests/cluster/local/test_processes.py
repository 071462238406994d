"""Processes are identified without doubt, and ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from cluster.local.processes import Identity, family, find, identify, kill, session_of, wait_gone

MARK = "EC_TEST_MARK"
#: A session leader with a child that outlives it and, like Ray's agents, has an empty environment.
LEADER = """
import subprocess, sys, time
code = "import time; print('up', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], env={}, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def leader() -> Iterator["subprocess.Popen[bytes]"]:
    """A session of two processes, which are killed after the test."""
    with subprocess.Popen(
        [sys.executable, "-c", LEADER],
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: "1"},
        start_new_session=True,
    ) as process:
        yield process
        kill(family(MARK, "1", session=process.pid))


def test_a_process_with_a_reused_id_is_another_one(leader: "subprocess.Popen[bytes]") -> None:
    identity = identify(leader.pid)

    assert find(identity) is not None
    assert find(replace(identity, started=identity.started - 60)) is None
    assert session_of(replace(identity, started=identity.started - 60)) is None


def test_a_zombie_is_not_alive(leader: "subprocess.Popen[bytes]") -> None:
    identity = identify(leader.pid)
    os.kill(leader.pid, signal.SIGKILL)
    while psutil.Process(leader.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    assert find(identity) is None


def test_a_family_is_found_without_its_leader_and_without_its_mark(leader: "subprocess.Popen[bytes]") -> None:
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    identity = identify(leader.pid)
    assert {process.pid for process in family(MARK, "1")} == {leader.pid}
    assert {process.pid for process in family(MARK, "1", session=session_of(identity))} == {leader.pid, child}

    leader.kill()
    leader.wait()

    orphans = family(MARK, "1", session=session_of(identity))
    assert {process.pid for process in orphans} == {child}
    kill(orphans)
    assert wait_gone(orphans, 10) == []


def test_other_processes_are_not_found() -> None:
    assert family(MARK, "of-no-process") == []
    assert find(Identity(pid=os.getpid(), started=0.0)) is None
