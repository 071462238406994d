"""Starts and stops the whole cluster of one machine, and reports each step.

The command (``__main__``) and the demo call this module.

    up(settings, report=print)
    down(settings, report=print)
    stay(settings, report=print)
"""

import fcntl
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster.database import bundled, open_pool
from cluster.keys.open_address import require_key
from cluster.local import application, drivers, ray_head
from cluster.local.addresses import api_url, dashboard_url
from cluster.local.environment import settings_digest
from cluster.settings import Settings

#: Seconds between two checks whether Ray runs.
CHECK_INTERVAL_S = 2.0
#: Shows one line to the person who runs the command.
ReportLine = Callable[[str], None]


def up(settings: Settings, report: ReportLine) -> bool:
    """Start everything that does not run, and wait until the endpoint answers.

    Return True if anything was started.

    Raises:
        Conflict: a port is taken, the cluster runs on other ports, or this code cannot work with the schema
            of the database.
        Misconfigured: other machines can reach the endpoint and there is no API key, or a part cannot start
            in this environment.
        Unavailable: a part of the cluster did not start; the message says why.
    """
    with _locked(settings, report):
        head = ray_head.running(settings)
        if head and head.settings != settings_digest(settings):
            report("Note: the cluster runs with other settings. To apply these, run make down, then make up")
        if head and application.ready(settings) and _database_runs(settings):
            return False
        report("Postgres: starting, and applying missing migrations")
        open_pool(settings).close()
        require_key(settings, settings.api_host)
        report("Ray: running" if head else "Ray: starting")
        ray_head.start(settings)
        report(f"Ray: dashboard at {dashboard_url(settings)}")
        report("Endpoint: loading the model")
        application.deploy(settings, report)
        report(f"Endpoint: ready at {api_url(settings)}")
        return True


def down(settings: Settings, report: ReportLine, *, postgres: bool = True) -> bool:
    """Stop the registered commands, Ray and the bundled Postgres of this home, and nothing else.

    Return True if Ray or Postgres ran.

    Args:
        settings: the settings of this home.
        report: is called with a line of text for each step.
        postgres: if False, the bundled Postgres keeps running.

    Raises:
        Unavailable: a process of Ray does not end.
    """
    with _locked(settings, report):
        drivers.end(settings, report)
        report("Ray and the endpoint: stopping")
        had_ray = ray_head.stop(settings)
        postgres = postgres and settings.database_url is None
        if postgres:
            report("Postgres: stopping")
        had_postgres = postgres and bundled.stop(settings)
        return had_ray or had_postgres


def stay(settings: Settings, report: ReportLine) -> bool:
    """Start everything, wait for SIGTERM or SIGINT, and stop everything. The command of a container calls
    this function.

    Return True after a signal, and False if Ray has ended by itself.

    Raises:
        ClusterError: the same errors as ``up`` and ``down``. If ``up`` fails, everything that it has started
            is stopped first.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        up(settings, report)
        while ray_head.running(settings) is not None:
            time.sleep(CHECK_INTERVAL_S)
        report("Ray has ended")
        return False
    except KeyboardInterrupt:
        return True
    finally:
        # Ignore further signals, because a second signal would interrupt ``down`` and leave processes behind.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        down(settings, report)


def _database_runs(settings: Settings) -> bool:
    return settings.database_url is not None or bundled.status(settings).running


@contextmanager
def _locked(settings: Settings, report: ReportLine) -> Iterator[None]:
    """Hold the lock of this home, so that only one ``up`` or ``down`` runs at a time."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "local.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Waiting for another make up or make down on this cluster")
            fcntl.flock(file, fcntl.LOCK_EX)  # the kernel frees the lock when its holder ends
        yield
