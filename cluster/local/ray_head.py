"""The Ray head of one machine: started, found again and stopped, and no other Ray on the machine touched.

Ray is run as its own command, never imported. ``ray stop`` is never used: it ends every Ray it finds. Called by
``lifecycle`` and ``status``.

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
from pydantic import SecretStr

from cluster.deploy.serve_config import ray_environment
from cluster.errors import Conflict, Misconfigured, Unavailable
from cluster.local.addresses import LOOPBACK, RAY_LISTENERS, get_json, ports_of, replica_ports, request, taken
from cluster.local.processes import (
    Identity,
    alive,
    family,
    find,
    identify,
    kill,
    let_other_sessions_first,
    session_of,
    wait_gone,
)
from cluster.records import digest
from cluster.settings import OLD_VARIABLES, RAY_PORTS, Settings

#: Ray's logical CPUs: a replica of the endpoint and the stages of a bulk job run side by side on the smallest machine.
LEAST_CPUS = 4
START_TIMEOUT_S = 180.0
#: Ray drains its node for some seconds; what has not ended by now is killed, which loses nothing: Postgres holds the truth.
STOP_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0
#: A killed process may count as gone while its last threads still hold its sockets.
RELEASE_TIMEOUT_S = 10.0
#: Ray's folder must leave room for ``/session_<date>_<pid>/sockets/dash_MetricsHead`` within the 107 bytes of a socket's path.
LONGEST_FOLDER = 36
#: Every process of a head inherits this variable; by its value even an orphan is known as ours.
MARK = "RAY_TMPDIR"
#: Said outright: unset, Ray asks for a token or not by whether some earlier Ray left one in ~/.ray. A token would have to be
#: given with every ``ray job submit``; see docs/security.md.
WITHOUT_TOKENS = {"RAY_AUTH_MODE": "disabled"}
#: Of Ray's workers. Ray's own value, 15, leaves the engine's bulk threads no room to step back behind its urgent ones. And of all of
#: Ray against other sessions: at 0 the bundled Postgres, each of whose processes is a session, waits up to 0.1 s for a core that bulk
#: has, and an upload with it (docs/decisions/009).
NICE = 5
#: Ray then keeps to the loopback interface; otherwise its listeners are open to the network, and Ray runs any code it is sent.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A Ray head as it was started; kept in ``home/ray-head.json``."""

    pid: int
    #: Seconds since the epoch.
    started: float
    #: Ray's folder: sockets, logs, session files.
    folder: str
    #: Port by listener, see ``addresses.ports_of``.
    ports: Mapping[str, int]
    #: Digest of the settings its replicas and jobs have.
    settings: str


def start(settings: Settings) -> Head:
    """The head of this home, started if it was not running; it answers when this returns.

    Raises:
        Conflict: it runs on other ports than the settings name, or somebody else listens on one of them.
        Unavailable: it did not come up; the message ends with its log.
    """
    head = running(settings)
    if head is not None and get_json(LOOPBACK, head.ports["dashboard"], "/api/version") is not None:
        if dict(head.ports) != ports_of(settings):
            raise Conflict(
                f"this cluster runs on other ports ({_named(head.ports)}); stop it first: make down"
            )
        return head
    _refuse_taken_ports(settings, patience_s=RELEASE_TIMEOUT_S if stop(settings) else 0)
    head = _launch(settings)
    _record(settings).write_text(json.dumps(asdict(head)))
    _await(settings, head)
    return head


def stop(settings: Settings) -> bool:
    """End the head of this home and every process it started, and remove Ray's folder. True when anything ran."""
    head = recorded(settings)
    folder = Path(head.folder) if head else _folder(settings)
    process = find(_identity(head)) if head else None
    session = session_of(_identity(head)) if head else None
    ran = family(MARK, str(folder), session=session)
    if process is not None:
        process.terminate()
        wait_gone(ran, STOP_TIMEOUT_S)
    left = family(MARK, str(folder), session=session)  # some were born while the others ended
    kill(left)
    stubborn = wait_gone(left, KILL_TIMEOUT_S)
    if stubborn:
        raise Unavailable(
            f"these processes of Ray do not end: {', '.join(str(process.pid) for process in stubborn)}"
        )
    _put_away(settings, folder)
    _record(settings).unlink(missing_ok=True)
    return bool(ran)


def running(settings: Settings) -> Head | None:
    """The live head of this home."""
    head = recorded(settings)
    return head if head and find(_identity(head)) else None


def recorded(settings: Settings) -> Head | None:
    """The head last started for this home, dead or alive."""
    try:
        return Head(**json.loads(_record(settings).read_text()))
    except (OSError, ValueError, TypeError):  # never started, or a power cut in mid-write
        return None


def _identity(head: Head) -> Identity:
    return Identity(pid=head.pid, started=head.started)


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    """What Ray's processes, replicas and submitted jobs find in their environment: this Python first, these settings."""
    return {
        **_inherited(),
        **settings_variables(settings),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        **ray_environment(),
        **_serve_variables(settings, folder),
        **LOOPBACK_ONLY,
        **WITHOUT_TOKENS,
        MARK: str(folder),
        "TMPDIR": str(folder),  # what the processes leave behind goes with the folder
        # A lone node has nowhere to move its replicas: requests in flight get this long to finish, not half a minute.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "2",
        # Fixed by default; any free port keeps two clusters apart.
        "AUTOSCALER_METRIC_PORT": "0",
        "DASHBOARD_METRIC_PORT": "0",
        "RAY_worker_niceness": str(NICE),
    }


def _serve_variables(settings: Settings, folder: Path) -> dict[str, str]:
    """Ports and files of Serve and its HAProxy. Their defaults are the same for every cluster of a machine."""
    ports, replicas = ports_of(settings), replica_ports(settings)
    return {
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports["haproxy_metrics"]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports["haproxy_stats"]),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports["fallback_proxy"]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(replicas.start),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(replicas[-1]),
        # Serve puts a folder with the node's id, 56 characters, before each name; HAProxy takes sockets' paths up to 97 only.
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m"),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        # Half a minute by default, so that load balancers outside notice that a replica goes. Here there is HAProxy only.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    }


def driver_environment(settings: Settings) -> dict[str, str]:
    """The environment of a command that works on the running head from outside."""
    return {**_inherited(), **settings_variables(settings), **LOOPBACK_ONLY}


def _inherited() -> dict[str, str]:
    """This process's environment without Ray's variables, old names of settings and Python's startup file."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_") and name not in OLD_VARIABLES and name != "PYTHONSTARTUP"
    }


def settings_variables(settings: Settings) -> dict[str, str]:
    """The settings that were given, as environment variables for another process."""
    given = {name: getattr(settings, name) for name in sorted(settings.model_fields_set | {"home"})}
    return {
        f"CLUSTER_{name.upper()}": _as_variable(value) for name, value in given.items() if value is not None
    }


def _as_variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(value)
    return json.dumps(value, default=str) if isinstance(value, dict) else str(value)


def settings_digest(settings: Settings) -> str:
    """Changes when a running cluster would have to be started anew for the settings to apply."""
    variables = settings_variables(settings)
    return digest(
        *(
            f"{name}={value}"
            for name, value in sorted(variables.items())
            if not name.startswith("CLUSTER_LOG_")
        ),
        size=8,
    )


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
            env=environment(settings, folder),
            start_new_session=True,  # a Ctrl-C in the terminal that started it is none of its business
        )
    let_other_sessions_first(process.pid, NICE)
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
        f"--num-cpus={max(LEAST_CPUS, os.cpu_count() or 1)}",
    ]


def _await(settings: Settings, head: Head) -> None:
    process = psutil.Process(head.pid)
    deadline = time.monotonic() + START_TIMEOUT_S
    while get_json(LOOPBACK, head.ports["dashboard"], "/api/version") is None or not _takes_jobs(head):
        if not alive(process) or time.monotonic() > deadline:
            log = settings.home / "logs" / "ray-head.log"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            stop(settings)
            raise Unavailable(f"Ray did not start; {log} ends with:\n{tail}")
        time.sleep(0.2)


def _takes_jobs(head: Head) -> bool:
    """True once jobs can be taken: the dashboard answers some seconds before its agent on the node does."""
    return (
        request("GET", LOOPBACK, head.ports["dashboard_agent_listen"], "/api/local_raylet_healthz")[0]
        == HTTPStatus.OK
    )


def _refuse_taken_ports(settings: Settings, *, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while occupied := {name: port for name, port in ports_of(settings).items() if taken(LOOPBACK, port)}:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.1)
    if occupied:
        raise Conflict(
            f"somebody else listens on {_named(occupied)}; stop it, or choose other ports with "
            f"CLUSTER_API_PORT, CLUSTER_DASHBOARD_PORT and CLUSTER_RAY_PORT (this one and the {RAY_PORTS - 1} after it)"
        )


def _named(ports: Mapping[str, int]) -> str:
    return ", ".join(f"{port} ({name})" for name, port in ports.items())


def _record(settings: Settings) -> Path:
    return settings.home / "ray-head.json"


def _folder(settings: Settings) -> Path:
    name = f"ec-{os.getuid()}-{digest(str(settings.home), size=5)}"
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 (made with mode 0700 and checked to be ours)
        folder = Path(base).resolve() / name
        if len(str(folder)) <= LONGEST_FOLDER:
            return folder
    raise Misconfigured("Ray needs a temporary folder with a short path: set TMPDIR to one")


def _make_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Misconfigured(
            f"{folder} belongs to somebody else; remove it, or set TMPDIR to a folder of your own"
        )
    return folder


def _put_away(settings: Settings, folder: Path) -> None:
    """Remove Ray's folder; the logs of the run stay, under ``home/logs/ray``, until the next one ends."""
    logs = folder / "session_latest" / "logs"
    if logs.is_dir():
        kept = settings.home / "logs" / "ray"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(logs, kept, symlinks=True, ignore_dangling_symlinks=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(settings.home / "spill", ignore_errors=True)
