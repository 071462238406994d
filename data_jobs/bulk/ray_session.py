"""Connect this process to Ray.

The process connects to the cluster of the Ray job, else to the cluster that ``make up`` started for this home
folder, else to a new cluster for this process.

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
from cluster.local.environment import LOOPBACK_ONLY, WITHOUT_TOKENS
from cluster.settings import Settings
from data_jobs.bulk.actor_locations import create_actor_locations

log = structlog.get_logger(__name__)

#: Minimum number of logical CPUs that Ray gets on one machine, because an engine and the stages that feed the
#: engine must run at the same time.
LEAST_CPUS = 4
#: Seconds without any progress after which a run fails. A batch on a slow CPU or a PDF at its limits takes
#: only minutes.
NO_PROGRESS_TIMEOUT_S = 30 * 60
#: The reason of ``Terminated`` if a signal ends the run.
SIGTERM_CAME = "this process received SIGTERM"
#: The reason of ``Terminated`` if ``make down`` ends the run.
CLUSTER_STOPPED = "the cluster was stopped (make down) during this run; start it again with make up"


class Terminated(KeyboardInterrupt):
    """Raised when the process receives SIGTERM.

    Like Ctrl-C, this is not an ``Exception``, so ``except Exception`` does not catch it.
    """


@contextmanager
def ray_session(settings: Settings) -> Iterator[None]:
    """Connect to Ray for the block.

    An existing connection is used and kept. A cluster started here is stopped after the block.
    """
    if ray.is_initialized():
        yield
        return
    # Busy-waiting OpenMP threads cost 2-4x the CPU per text on shared cores. Ray workers get these variables.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if settings.log_level != "DEBUG":
        # Hide a warning: for every actor pool of Ray Data, Ray's core warns that the object store keeps the
        # arguments of the pool (ray issue 53727).
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        _keep_to_loopback()
        address = _head_of_this_home(settings)
    log.info("ray_connecting", address=address or "a cluster of this process's own")
    quiet: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": settings.log_level == "DEBUG"}
    reason = SIGTERM_CAME
    with contextlib.ExitStack() as ending:
        if address:
            if (head := ray_head.running(settings)) is not None:
                ending.enter_context(drivers.registered(head))
                reason = CLUSTER_STOPPED
            ray.init(address=address, **quiet)
            create_actor_locations()
        else:
            # Use a separate folder, so Ray does not find the session of another cluster. Keep the path short,
            # because unix sockets limit the length of paths.
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
        with raising_terminated(reason):
            _configure_ray_data(settings)
            yield


def _configure_ray_data(settings: Settings) -> None:
    if settings.log_level != "DEBUG":
        # Hide plans, notices and tracebacks, because the report and the error of the run have the information
        # that a person needs.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = DataContext.get_current()
    context.raise_original_map_exception = True  # for ``pipeline_error``
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_TIMEOUT_S


@contextmanager
def ending_with_cluster(settings: Settings) -> Iterator[None]:
    """Let SIGTERM and ``make down`` end the block in the same way as Ctrl-C. No connection to Ray is
    needed.
    """
    head = ray_head.running(settings)
    with contextlib.ExitStack() as ending:
        if head is not None:
            ending.enter_context(drivers.registered(head))
        ending.enter_context(raising_terminated(SIGTERM_CAME if head is None else CLUSTER_STOPPED))
        yield


@contextmanager
def raising_terminated(reason: str) -> Iterator[None]:
    """If SIGTERM arrives, raise ``Terminated(reason)`` in the block. ``make down`` sends SIGTERM before it
    stops Ray. Outside the main thread, do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = False

    def terminate(*_: object) -> None:
        nonlocal received
        received = True
        raise Terminated(reason)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as exc:
        if received and not isinstance(exc, Terminated):
            # If the signal arrives while Ray waits, Ray raises KeyboardInterrupt() instead of ``Terminated``.
            raise Terminated(reason) from exc
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _head_of_this_home(settings: Settings) -> str | None:
    """Return the address of the Ray head that ``make up`` started for this home; None if no head runs."""
    head = ray_head.running(settings)
    if head is None:
        return None
    # If the token mode of a driver differs from the token mode of the head, Ray cancels the driver's actors
    # before these actors start. Ray read the variable at import, so read the configuration again.
    os.environ.update(WITHOUT_TOKENS)
    Config.initialize("")
    return f"127.0.0.1:{head.ports['gcs']}"


def _keep_to_loopback() -> None:
    """Use the loopback interface only, both to reach a head and to start a head."""
    os.environ.update(LOOPBACK_ONLY)
    ray_constants.ENABLE_RAY_CLUSTER = False  # set again, because Ray read the variable when Ray was imported
