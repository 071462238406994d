"""Builds the environment variables of Ray's processes, and of commands that connect to a running head.

``ray_head``, the demo and the bulk commands use this module.

    subprocess.run(command, env=driver_environment(settings))
"""

import json
import os
import sys
from pathlib import Path

from pydantic import BaseModel, SecretStr

from cluster.deploy.serve_config import ray_environment
from cluster.local.addresses import ports_of, replica_ports
from cluster.records import digest
from cluster.settings import OLD_VARIABLES, Settings

#: Every process of a head inherits this variable. The value of the variable identifies even orphaned
#: processes.
MARK = "RAY_TMPDIR"
#: Without this variable, Ray requires a token if an earlier Ray left a token in ~/.ray. Each
#: ``ray job submit`` would then need the token; see docs/security.md.
WITHOUT_TOKENS = {"RAY_AUTH_MODE": "disabled"}
#: Nice value of Ray's workers, and of Ray's whole session compared with other sessions. Ray's default for
#: workers, 15, would leave only four nice steps between the engine's urgent threads and its bulk threads.
#: With 0 for the session, the bundled Postgres (and so an upload) would wait up to 0.1 s for a core that bulk
#: work occupies (docs/decisions/009).
NICE = 5
#: Makes Ray listen on the loopback interface only. Otherwise Ray's listeners would be open to the network,
#: and Ray runs any code that it receives.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def head_environment(settings: Settings, folder: Path) -> dict[str, str]:
    """Return the environment of Ray's processes, replicas and submitted jobs.

    The environment contains these settings, and PATH begins with the folder of this Python's programs.
    """
    return {
        **_inherited(),
        **settings_variables(settings),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        **ray_environment(),
        **_serve_variables(settings, folder),
        **LOOPBACK_ONLY,
        **WITHOUT_TOKENS,
        MARK: str(folder),
        "TMPDIR": str(folder),  # files that processes leave behind are removed with the folder
        # A single node cannot move its replicas to another node. So requests in flight get two seconds to
        # finish, instead of half a minute.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "2",
        # By default these ports are fixed, and two clusters would collide. 0 means any free port.
        "AUTOSCALER_METRIC_PORT": "0",
        "DASHBOARD_METRIC_PORT": "0",
        "RAY_worker_niceness": str(NICE),
    }


def _serve_variables(settings: Settings, folder: Path) -> dict[str, str]:
    """Return variables for the ports and files of Serve and HAProxy.

    By default, all clusters on a machine use the same ports and files.
    """
    ports, replicas = ports_of(settings), replica_ports(settings)
    return {
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports["haproxy_metrics"]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports["haproxy_stats"]),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports["fallback_proxy"]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(replicas.start),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(replicas[-1]),
        # Socket paths must be short: HAProxy accepts at most 97 characters, and Serve inserts a folder named
        # by the node's id, 56 characters, before each file name.
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m"),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        # The default of half a minute is for external load balancers. A local cluster has only HAProxy.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    }


def driver_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a command that connects to the running head."""
    return {**_inherited(), **settings_variables(settings), **LOOPBACK_ONLY}


def _inherited() -> dict[str, str]:
    """Return this environment without Ray's variables, old names of settings and Python's startup file."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_") and name not in OLD_VARIABLES and name != "PYTHONSTARTUP"
    }


def settings_variables(settings: Settings) -> dict[str, str]:
    """Return ``home`` and the settings that were set explicitly, as variables for another process."""
    given = {name: getattr(settings, name) for name in sorted(settings.model_fields_set | {"home"})}
    return {
        f"CLUSTER_{name.upper()}": _as_variable(value) for name, value in given.items() if value is not None
    }


def _as_variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return json.dumps(value, default=_plain) if isinstance(value, dict) else str(value)


def _plain(value: object) -> object:
    """Convert a value inside a table to a value that JSON can hold."""
    return value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else str(value)


def settings_digest(settings: Settings) -> str:
    """Return a digest of ``home`` and the settings that were set explicitly, except settings of logging.

    If the digest changes, the cluster must be restarted.
    """
    variables = settings_variables(settings)
    return digest(
        *(
            f"{name}={value}"
            for name, value in sorted(variables.items())
            if not name.startswith("CLUSTER_LOG_")
        ),
        size=8,
    )
