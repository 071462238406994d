"""``up`` and ``down``: the whole cluster of one machine, each step told as it is taken.

Called by the command (``__main__``) and by the demo.

    up(settings, tell=print)
    down(settings, tell=print)
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster.database import bundled, open_pool
from cluster.local import application, drivers, ray_head
from cluster.local.addresses import api_url, dashboard_url
from cluster.settings import Settings

#: Receives one line for a person.
Tell = Callable[[str], None]


def up(settings: Settings, tell: Tell) -> bool:
    """Bring everything up that is not up, and wait until the endpoint answers. True when anything had to be started.

    Raises:
        Conflict: a port is taken, or the cluster runs on other ports.
        Unavailable: a part did not come up; the message says why.
    """
    with _only_one(settings, tell):
        head = ray_head.running(settings)
        if head and head.settings != ray_head.settings_digest(settings):
            tell("Note: the cluster was started with other settings; make down and make up apply these")
        if head and application.ready(settings) and _database_runs(settings):
            return False
        tell("Postgres: starting, and bringing its schema up to date")
        open_pool(settings).close()
        tell("Ray: running" if head else "Ray: starting")
        ray_head.start(settings)
        tell(f"Ray: dashboard at {dashboard_url(settings)}")
        tell("Endpoint: loading the model")
        application.deploy(settings, tell)
        tell(f"Endpoint: ready at {api_url(settings)}")
        return True


def down(settings: Settings, tell: Tell, *, postgres: bool = True) -> bool:
    """Stop exactly what ``up`` started for this home. True when anything ran.

    Args:
        postgres: False leaves the bundled Postgres running.
    """
    with _only_one(settings, tell):
        drivers.end(settings, tell)
        tell("Ray and the endpoint: stopping")
        had_ray = ray_head.stop(settings)
        postgres = postgres and settings.database_url is None
        if postgres:
            tell("Postgres: stopping")
        had_postgres = postgres and bundled.stop(settings)
        return had_ray or had_postgres


def _database_runs(settings: Settings) -> bool:
    return settings.database_url is not None or bundled.status(settings).running


@contextmanager
def _only_one(settings: Settings, tell: Tell) -> Iterator[None]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "local.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Another up or down works on this cluster: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go when that process ends, however it ends
        yield
