"""Finds the postmaster (the main process) of one bundled server, and cleans up after a killed postmaster.

The module ``server`` calls these functions. The functions do not read ``/proc/<pid>/cwd`` or
``/proc/<pid>/exe``, because root in a container may not read these files of other users' processes.

    postmaster = find(data)         # None if the server does not run, even if there is a pid file
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

#: Time for the backends of a killed postmaster to end after their current statement. After this time,
#: the backends are killed.
ORPHAN_GRACE_S = 5.0
#: Time for the kernel to end a process after SIGKILL.
KILL_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.02
#: Larger than any process id of Linux, so no process has this id.
NO_PID = 2**31 - 1
DEAD = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def find(data: Path) -> psutil.Process | None:
    """Return the live postmaster of this data directory, or None.

    The pid file alone is no proof, because the process may be dead or a zombie, or another process may have
    the same id now.
    """
    try:
        process = psutil.Process(int(_pid_file(data).read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return process if _serves(process, data) else None


def port(data: Path) -> int | None:
    """Return the port in the pid file, or None without a pid file."""
    try:
        return int(_pid_file(data).read_text().split("\n")[3])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def title(data: Path) -> str:
    """Return the server's ``cluster_name``. Postgres shows this name in the titles of its processes."""
    return "cluster-" + blake2b(str(data.resolve()).encode(), digest_size=6).hexdigest()


def ended(process: psutil.Process, timeout_s: float) -> bool:
    """Wait for the process to end, and return True if it ended in time. A zombie counts as ended."""
    deadline = time.monotonic() + timeout_s
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def alive(process: psutil.Process) -> bool:
    """Return True while the process runs. A zombie does not run."""
    try:
        return process.is_running() and process.status() not in DEAD
    except psutil.NoSuchProcess:
        return False


def clear_remains(data: Path) -> None:
    """Prepare the start of a new postmaster: end the backends of the dead postmaster, and correct its pid
    file.
    """
    orphans = list(_orphans(data))
    if orphans and not _all_ended(orphans, ORPHAN_GRACE_S):
        log.warning("postgres_orphans_killed", data=str(data))
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        _all_ended(orphans, KILL_TIMEOUT_S)
    _disarm(_pid_file(data))


def _disarm(pid_file: Path) -> None:
    """Replace the process id in the pid file if it belongs to another live process.

    The file is not deleted, because its last lines name the shared memory of the old server. Postgres needs
    these lines to refuse a start while a process is attached to that memory. Postgres itself handles the pid
    file of a dead process.
    """
    try:
        lines = pid_file.read_text().split("\n")
    except FileNotFoundError:
        return
    if len(lines) < 7 or not lines[0].isdigit():  # a full disk cut the file, so the server never started
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
            # A child process has the command line of its postmaster until the child sets its own title.
            if (" ".join(command).startswith(name) or _names(command, data)) and alive(process):
                yield process


def _serves(process: psutil.Process, data: Path) -> bool:
    try:
        return alive(process) and _names(process.cmdline(), data)
    except (
        psutil.NoSuchProcess,
        psutil.AccessDenied,
    ):  # a process that cannot be inspected is not this server
        return False


def _names(command: list[str], data: Path) -> bool:
    """Return True if the command line is ``.../postgres -D DATA ...`` with this data directory."""
    if len(command) < 3 or Path(command[0]).name != "postgres" or command[1] != "-D":
        return False
    return Path(command[2]).resolve() == data.resolve()


def _all_ended(processes: Iterable[psutil.Process], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    return all([ended(process, deadline - time.monotonic()) for process in processes])


def _pid_file(data: Path) -> Path:
    return data / "postmaster.pid"
