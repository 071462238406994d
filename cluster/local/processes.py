"""Which processes are ours, how they end, and before whom they step back: by identity, never by name.

A process id alone proves nothing, for the number may belong to somebody else by now; with its start time it does.
Called by ``ray_head``.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

#: A start time read twice may differ by rounding of the kernel's clock ticks.
START_TIME_TOLERANCE_S = 1.0
POLL_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """One process, for as long as the machine runs."""

    pid: int
    #: Seconds since the epoch at which it started.
    started: float


def identify(pid: int) -> Identity:
    """Identity of a live process.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    return Identity(pid=pid, started=psutil.Process(pid).create_time())


def find(identity: Identity) -> psutil.Process | None:
    """The process, or None when it ended, is a zombie, or its number was given to another."""
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.started) < START_TIME_TOLERANCE_S
        return process if same and alive(process) else None
    except psutil.Error:
        return None


def session_of(identity: Identity) -> int | None:
    """Id of the session the process led, dead or alive; None when its number belongs to another, which proves the session empty."""
    try:
        same = abs(psutil.Process(identity.pid).create_time() - identity.started) < START_TIME_TOLERANCE_S
    except psutil.NoSuchProcess:  # the kernel gives the number to nobody while a process of the session lives
        same = True
    return identity.pid if same else None


def alive(process: psutil.Process) -> bool:
    """True while it runs; a zombie that nobody reaps does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(variable: str, value: str, *, session: int | None = None) -> list[psutil.Process]:
    """Live processes that inherited ``variable=value``, or belong to the session; the caller is not among them.

    Args:
        session: see ``session_of``; a process that wrote its title over its whole environment is found by this only.
    """
    found = []
    for process in psutil.process_iter():
        try:
            ours = _inherited(process, variable, value) or (
                session is not None and os.getsid(process.pid) == session
            )
            if ours and process.pid != os.getpid() and alive(process):
                found.append(process)
        except (psutil.Error, OSError):  # it ended meanwhile, or is somebody else's
            continue
    return found


def _inherited(process: psutil.Process, variable: str, value: str) -> bool:
    environment = Path(f"/proc/{process.pid}/environ")
    if environment.parent.is_dir():
        # Ray's processes write their titles over the first variables, and psutil reads no further than the first empty one.
        return f"{variable}={value}".encode() in environment.read_bytes().split(b"\0")
    return process.environ().get(variable) == value


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those still alive when the time is over."""
    deadline = time.monotonic() + timeout_s
    left = [process for process in processes if alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_S)
        left = [process for process in left if alive(process)]
    return left


def kill(processes: Sequence[psutil.Process]) -> None:
    """End them by force."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def let_other_sessions_first(session: int, nice: int) -> None:
    """Give the session's processes together this nice value against those of other sessions; their own count among themselves.

    Linux divides the processors between sessions before it looks at a process's nice value (``sched_autogroup``, sched(7)). In a
    container, where it does not, and on other systems nothing changes.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{session}/autogroup").write_text(str(nice))
