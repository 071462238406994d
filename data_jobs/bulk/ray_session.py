"""Connect this process to Ray: the job's own cluster, the one this home runs, or one started for this process alone.

with ray_session(settings):
    ray.data.from_items(...)
"""

import contextlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import structlog
from ray._private import ray_constants
from ray._raylet import Config  # type: ignore[attr-defined]  # compiled, without stubs
from ray.data import DataContext

from cluster.local import drivers, ray_head
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: Ray's logical CPUs on one machine: even the smallest runs an engine beside the stages that feed it.
LEAST_CPUS = 4
#: A batch on a slow CPU, or a PDF at its limits, can hold a step up for minutes; half an hour without any progress is a fault.
NO_PROGRESS_TIMEOUT_S = 30 * 60


@contextmanager
def ray_session(settings: Settings) -> Iterator[None]:
    """Connected to Ray inside the block. What was connected before stays so; a cluster of our own is stopped after it."""
    if ray.is_initialized():
        yield
        return
    # Busy-waiting OpenMP threads cost 2-4x the CPU per text on shared cores; workers inherit this.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if settings.log_level != "DEBUG":
        # Ray's core warns at every actor pool of Ray Data that its arguments are kept in the object store (ray issue 53727).
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        _keep_to_loopback()
        address = _running_here(settings)
    log.info("ray_connecting", address=address or "a cluster of this process's own")
    quiet: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": settings.log_level == "DEBUG"}
    why = "this process was told to end (SIGTERM)"
    with contextlib.ExitStack() as ending:
        if address:
            if (head := ray_head.running(settings)) is not None:
                ending.enter_context(drivers.registered(head))
                why = (
                    "the cluster was stopped (make down) while this was at work; start it again with make up"
                )
            ray.init(address=address, **quiet)
        else:
            # A folder of its own, short enough for unix sockets: another cluster's session is none of our business.
            folder = ending.enter_context(
                tempfile.TemporaryDirectory(prefix="ec-ray-", ignore_cleanup_errors=True)
            )
            ray.init(
                num_cpus=max(LEAST_CPUS, os.cpu_count() or 1),
                include_dashboard=False,
                _temp_dir=folder,
                **quiet,
            )
        ending.callback(ray.shutdown)
        with _ending_when_told(why):
            if settings.log_level != "DEBUG":
                logging.getLogger("ray.data").setLevel(
                    logging.ERROR
                )  # plans and notices; the report says what a person asks
            context = DataContext.get_current()
            context.enable_progress_bars = False
            context.execution_no_progress_timeout_s = NO_PROGRESS_TIMEOUT_S
            yield


class ToldToEnd(KeyboardInterrupt):
    """The process was told to end. Like Ctrl-C no ``Exception``, so that code in between that takes any error lets it through."""


@contextmanager
def _ending_when_told(why: str) -> Iterator[None]:
    """SIGTERM, which ``make down`` sends before it takes the cluster away, raises ``ToldToEnd`` in the block, with the reason given."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise ToldToEnd(why)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _running_here(settings: Settings) -> str | None:
    """Address of the Ray head that ``make up`` started for this home; another home's is none of our business."""
    head = ray_head.running(settings)
    if head is None:
        return None
    # In another mode than its head's, a driver's actors are cancelled before they start; Ray read the variable when imported.
    os.environ.update(ray_head.WITHOUT_TOKENS)
    Config.initialize("")
    return f"127.0.0.1:{head.ports['gcs']}"


def _keep_to_loopback() -> None:
    """Reach a head that listens on the loopback interface only, and start none that listens to the network."""
    os.environ.update(ray_head.LOOPBACK_ONLY)
    ray_constants.ENABLE_RAY_CLUSTER = False  # what Ray made of the variable when it was imported
