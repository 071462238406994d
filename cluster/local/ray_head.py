"""Starts, finds and stops the Ray head of one home, and touches no other Ray on the machine.

Ray runs as its own command and is never imported. ``ray stop`` is never used, because it ends every Ray on
the machine. ``lifecycle`` and ``status`` call these functions.

    head = start(settings)
    stop(settings)
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

import psutil

from cluster.errors import Conflict, Misconfigured, Unavailable
from cluster.local.addresses import LOOPBACK, RAY_LISTENERS, get_json, ports_of, request, taken
from cluster.local.environment import MARK, NICE, head_environment, settings_digest
from cluster.local.processes import (
    Identity,
    alive,
    family,
    find,
    identify,
    kill,
    session_of,
    set_session_nice,
    wait_gone,
)
from cluster.records import digest
from cluster.settings import RAY_PORTS, Settings

#: Minimum number of Ray's logical CPUs. With this number, a replica and the stages of a bulk job can
#: run at the same time even on the smallest machine.
MIN_CPUS = 4
START_TIMEOUT_S = 180.0
#: A part of Ray's message when its node took longer than 30 seconds to start (``ray/_private/node.py``). A
#: busy machine, or a machine that reads Ray's files for the first time, can need longer, and Ray has no
#: setting for this limit. So a head that ended with this message is started a second time.
SLOW_START = "timed out during startup"
#: Maximum number of lines of the head's log in an error.
LOG_LINES = 15
#: Maximum time to wait until Ray ends. Ray drains its node for some seconds. Processes that still run after
#: this time are killed. No data is lost, because Postgres has all data.
STOP_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0
#: Time to wait for ports to become free. The sockets of a killed process may stay open until its last thread
#: ends.
RELEASE_TIMEOUT_S = 10.0
#: Maximum length of the path of Ray's folder. Ray appends ``/session_<date>_<pid>/sockets/dash_MetricsHead``,
#: and the path of a socket has at most 107 bytes.
MAX_FOLDER_LENGTH = 36


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """Describes a Ray head that was started for this home. ``home/ray-head.json`` stores this record."""

    pid: int
    #: Start time of the process, in seconds since 1970.
    started: float
    #: Ray's folder with sockets, logs and session files.
    folder: str
    #: Ports by the name of the listener; see ``addresses.ports_of``.
    ports: Mapping[str, int]
    #: Digest of the settings that the head's replicas and jobs use.
    settings: str


def start(settings: Settings) -> Head:
    """Return the head of this home. If no head runs and answers, start a new head and wait until it answers.

    Raises:
        Conflict: the head runs on other ports than the settings name, or another process uses one of the
            ports.
        Misconfigured: the path of Ray's temporary folder is too long, or the folder belongs to another OS
            user.
        Unavailable: the head did not start, and the message ends with the head's log; or an earlier head did
            not end.
    """
    head = running(settings)
    if head is not None and get_json(LOOPBACK, head.ports["dashboard"], "/api/version") is not None:
        if dict(head.ports) != ports_of(settings):
            raise Conflict(
                f"this cluster runs on other ports ({_named(head.ports)}): stop it first with make down"
            )
        return head
    _refuse_taken_ports(settings, timeout_s=RELEASE_TIMEOUT_S if stop(settings) else 0)
    try:
        return _started(settings)
    except Unavailable as exc:
        if SLOW_START not in str(exc):
            raise
    _refuse_taken_ports(settings, timeout_s=RELEASE_TIMEOUT_S)
    return _started(settings)


def stop(settings: Settings) -> bool:
    """Stop the head of this home and all its processes, and remove Ray's folder.

    Return True if anything ran.

    Raises:
        Unavailable: a process does not end, even after SIGKILL.
    """
    head = recorded(settings)
    folder = Path(head.folder) if head else _folder(settings)
    process = find(_identity(head)) if head else None
    session = session_of(_identity(head)) if head else None
    ran = family(MARK, str(folder), session=session)
    if process is not None:
        process.terminate()
        wait_gone(ran, STOP_TIMEOUT_S)
    remaining = family(MARK, str(folder), session=session)  # some processes started while others ended
    kill(remaining)
    unkillable = wait_gone(remaining, KILL_TIMEOUT_S)
    if unkillable:
        raise Unavailable(
            "these processes of Ray do not end, even after SIGKILL: "
            f"{', '.join(str(process.pid) for process in unkillable)}; try make down again"
        )
    _remove_folder(settings, folder)
    _record(settings).unlink(missing_ok=True)
    return bool(ran)


def running(settings: Settings) -> Head | None:
    """Return the head of this home, or None if it does not run."""
    head = recorded(settings)
    return head if head and find(_identity(head)) else None


def recorded(settings: Settings) -> Head | None:
    """Return the last recorded head of this home, even if the head has ended; None without a record."""
    try:
        return Head(**json.loads(_record(settings).read_text()))
    except (OSError, ValueError, TypeError):  # never started, or a power failure cut the record short
        return None


def _identity(head: Head) -> Identity:
    return Identity(pid=head.pid, started=head.started)


def _started(settings: Settings) -> Head:
    head = _launch(settings)
    _record(settings).write_text(json.dumps(asdict(head)))
    _await(settings, head)
    set_session_nice(head.pid, NICE)  # only now, because Ray gives its processes fixed times to start
    return head


def _launch(settings: Settings) -> Head:
    folder = _make_folder(_folder(settings))
    log = settings.home / "logs" / "ray-head.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            _command(settings, folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=settings.home,
            env=head_environment(settings, folder),
            start_new_session=True,  # Ctrl-C in this terminal must not reach Ray
        )
    identity = identify(process.pid)
    return Head(
        pid=identity.pid,
        started=identity.started,
        folder=str(folder),
        ports=ports_of(settings),
        settings=settings_digest(settings),
    )


def _command(settings: Settings, folder: Path) -> list[str]:
    ports = ports_of(settings)
    command = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
    ]
    command += [f"--node-ip-address={LOOPBACK}", f"--port={ports['gcs']}"]
    command += [f"--{name.replace('_', '-')}-port={ports[name]}" for name in RAY_LISTENERS[1:]]
    command += [
        f"--dashboard-host={LOOPBACK}",
        f"--dashboard-port={ports['dashboard']}",
        f"--temp-dir={folder}",
    ]
    return [
        *command,
        f"--object-spilling-directory={settings.home / 'spill'}",
        f"--num-cpus={max(MIN_CPUS, os.cpu_count() or 1)}",
    ]


def _await(settings: Settings, head: Head) -> None:
    process = psutil.Process(head.pid)
    deadline = time.monotonic() + START_TIMEOUT_S
    while get_json(LOOPBACK, head.ports["dashboard"], "/api/version") is None or not _takes_jobs(head):
        if not alive(process) or time.monotonic() > deadline:
            log = settings.home / "logs" / "ray-head.log"
            lines = log.read_text(errors="replace").splitlines()
            # Indented lines are left out, because they are the inner lines of a traceback.
            told = [line for line in lines if line.strip() and not line[0].isspace()][-LOG_LINES:]
            stop(settings)
            raise Unavailable("\n".join([f"Ray did not start; {log} ends with:", *told]))
        time.sleep(0.2)


def _takes_jobs(head: Head) -> bool:
    """Return True if Ray accepts jobs. Ray's agent on the node starts some seconds after the dashboard."""
    return (
        request("GET", LOOPBACK, head.ports["dashboard_agent_listen"], "/api/local_raylet_healthz")[0]
        == HTTPStatus.OK
    )


def _refuse_taken_ports(settings: Settings, *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while occupied := {name: port for name, port in ports_of(settings).items() if taken(LOOPBACK, port)}:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.1)
    if occupied:
        raise Conflict(
            f"another process listens on {_named(occupied)}: stop it, or choose other ports with "
            f"CLUSTER_API_PORT, CLUSTER_DASHBOARD_PORT and CLUSTER_RAY_PORT "
            f"(this port and the {RAY_PORTS - 1} after it)"
        )


def _named(ports: Mapping[str, int]) -> str:
    return ", ".join(f"{port} ({name})" for name, port in ports.items())


def _record(settings: Settings) -> Path:
    return settings.home / "ray-head.json"


def _folder(settings: Settings) -> Path:
    name = f"ec-{os.getuid()}-{digest(str(settings.home), size=5)}"
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # see _make_folder
        folder = Path(base).resolve() / name
        if len(str(folder)) <= MAX_FOLDER_LENGTH:
            return folder
    longest = MAX_FOLDER_LENGTH - len(name) - 1
    raise Misconfigured(
        f"Ray needs a temporary folder with a path of at most {longest} characters: set TMPDIR to one"
    )


def _make_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Misconfigured(
            f"{folder} belongs to another OS user: remove it, or set TMPDIR to a folder of your own"
        )
    return folder


def _remove_folder(settings: Settings, folder: Path) -> None:
    """Remove Ray's folder. A copy of Ray's logs stays under ``home/logs/ray`` until the next head stops."""
    logs = folder / "session_latest" / "logs"
    if logs.is_dir():
        kept = settings.home / "logs" / "ray"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(logs, kept, symlinks=True, ignore_dangling_symlinks=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(settings.home / "spill", ignore_errors=True)
