"""The processes of one bundled server: which is its postmaster, and what a killed one left behind.

Called by ``server``. Nothing here reads ``/proc/<pid>/cwd`` or ``exe``: in a container root may not, for another user's process.

    postmaster = find(data)         # None: not running, whatever the pid file says
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger(__name__)

#: Backends whose postmaster was killed leave when their statement ends; those that have not by now are killed.
ORPHAN_GRACE_S = 5.0
#: How long the kernel may take over a SIGKILL.
KILL_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.02
#: Larger than any pid a kernel gives, so never alive.
NO_PID = 2**31 - 1
DEAD = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def find(data: Path) -> psutil.Process | None:
    """The live postmaster of this data directory.

    Its pid file alone proves nothing: the process may have been killed, be a zombie that nobody reaps, or the number
    may belong to somebody else by now.
    """
    try:
        process = psutil.Process(int(_pid_file(data).read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return process if _serves(process, data) else None


def port(data: Path) -> int | None:
    """Port the postmaster said it would listen on; None where there is no pid file."""
    try:
        return int(_pid_file(data).read_text().split("\n")[3])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def title(data: Path) -> str:
    """The server's ``cluster_name``: it stands in the title of each of its processes and tells them from all others."""
    return "cluster-" + blake2b(str(data.resolve()).encode(), digest_size=6).hexdigest()


def ended(process: psutil.Process, timeout_s: float) -> bool:
    """Wait for the process to end; a zombie has ended. False when it has not."""
    deadline = time.monotonic() + timeout_s
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def alive(process: psutil.Process) -> bool:
    """True while the process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() not in DEAD
    except psutil.NoSuchProcess:
        return False


def clear_remains(data: Path) -> None:
    """With no postmaster alive: see its orphaned backends out, and take the pid file out of the next one's way."""
    orphans = list(_orphans(data))
    if orphans and not _all_ended(orphans, ORPHAN_GRACE_S):
        log.warning("postgres_orphans_killed", data=str(data))
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        _all_ended(orphans, KILL_TIMEOUT_S)
    _disarm(_pid_file(data))


def _disarm(pid_file: Path) -> None:
    """Put a number into the pid file that is no process, where it names one that is not the postmaster.

    Not deleted: its last lines lead Postgres to the shared memory of the old server, and it refuses to start while
    anybody is still attached to that. A dead process' file is left alone, Postgres knows what to do with it.
    """
    try:
        lines = pid_file.read_text().split("\n")
    except FileNotFoundError:
        return
    if len(lines) < 7 or not lines[0].isdigit():  # cut short by a full disk: the server never came up
        pid_file.unlink()
    elif psutil.pid_exists(int(lines[0])):
        log.warning("postgres_pid_file_stale", path=str(pid_file), pid=int(lines[0]))
        owner, draft = pid_file.stat(), pid_file.with_suffix(".draft")
        draft.write_text("\n".join([str(NO_PID), *lines[1:]]))
        os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(pid_file)


def _orphans(data: Path) -> Iterator[psutil.Process]:
    name = f"postgres: {title(data)}: "
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = process.cmdline()
            # A child that has not taken its title yet still carries its postmaster's command line.
            if (" ".join(command).startswith(name) or _names(command, data)) and alive(process):
                yield process


def _serves(process: psutil.Process, data: Path) -> bool:
    try:
        return alive(process) and _names(process.cmdline(), data)
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # what we may not look at is not ours
        return False


def _names(command: list[str], data: Path) -> bool:
    """True for the command line ``.../postgres -D DATA ...``."""
    if len(command) < 3 or Path(command[0]).name != "postgres" or command[1] != "-D":
        return False
    return Path(command[2]).resolve() == data.resolve()


def _all_ended(processes: Iterable[psutil.Process], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    return all([ended(process, deadline - time.monotonic()) for process in processes])


def _pid_file(data: Path) -> Path:
    return data / "postmaster.pid"
