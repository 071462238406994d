"""Finds, ends and prioritises the processes of this cluster. Never selects a process by its name.

The kernel reuses process ids, so the identity of a process is its id together with the start time.
``ray_head`` and ``drivers`` call these functions.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Maximum difference between two readings of the same start time. They can differ, because the kernel rounds
#: the time to clock ticks.
START_TIME_TOLERANCE_S = 1.0
POLL_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Identifies one process until the machine restarts."""

    pid: int
    #: Start time of the process, in seconds since 1970.
    started: float


def identify(pid: int) -> Identity:
    """Return the identity of a live process.

    Raises:
        psutil.NoSuchProcess: there is no process with this id.
    """
    return Identity(pid=pid, started=psutil.Process(pid).create_time())


def find(identity: Identity) -> psutil.Process | None:
    """Return the process, or None if it has ended, is a zombie, or another process has its id."""
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.started) < START_TIME_TOLERANCE_S
        return process if same and alive(process) else None
    except psutil.Error:
        return None


def session_of(identity: Identity) -> int | None:
    """Return the id of the session that the process leads or led.

    None means that another process now has the same id, which proves that the session is empty.
    """
    try:
        same = abs(psutil.Process(identity.pid).create_time() - identity.started) < START_TIME_TOLERANCE_S
    except psutil.NoSuchProcess:  # while the session has processes, the kernel does not reuse the id
        same = True
    return identity.pid if same else None


def alive(process: psutil.Process) -> bool:
    """Return True while the process runs. A zombie does not run."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(variable: str, value: str, *, session: int | None = None) -> list[psutil.Process]:
    """Return the live processes that inherited ``variable=value`` or belong to the session.

    The calling process is never in the list.

    Args:
        variable: name of an environment variable.
        value: value of the variable.
        session: id from ``session_of``. With this id, the function also finds processes that overwrote
            their environment with their title.
    """
    found = []
    for process in psutil.process_iter():
        try:
            belongs = _inherited(process, variable, value) or (
                session is not None and os.getsid(process.pid) == session
            )
            if belongs and process.pid != os.getpid() and alive(process):
                found.append(process)
        except (psutil.Error, OSError):  # the process has just ended, or belongs to another user
            continue
    return found


def _inherited(process: psutil.Process, variable: str, value: str) -> bool:
    environment = Path(f"/proc/{process.pid}/environ")
    if environment.parent.is_dir():
        # Read the file here, because psutil stops at the first empty variable. Processes of Ray overwrite
        # the first variables with their titles.
        return f"{variable}={value}".encode() in environment.read_bytes().split(b"\0")
    return process.environ().get(variable) == value


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for the processes to end, and return the processes that are still alive after the timeout."""
    deadline = time.monotonic() + timeout_s
    remaining = [process for process in processes if alive(process)]
    while remaining and time.monotonic() < deadline:
        time.sleep(POLL_S)
        remaining = [process for process in remaining if alive(process)]
    return remaining


def kill(processes: Sequence[psutil.Process]) -> None:
    """Send SIGKILL to the processes."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def set_session_nice(session: int, nice: int) -> None:
    """Set the nice value of a whole session, compared with other sessions.

    Linux divides the CPUs between sessions before it looks at the nice value of a process
    (``sched_autogroup``, sched(7)). This function changes nothing on other systems and in containers, which
    have no such division.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{session}/autogroup").write_text(str(nice))
