"""Registers the commands (Ray drivers) that work on this home's cluster, so that ``down`` can end them
before it stops Ray.

If a driver loses its cluster, Ray kills the driver without a message, and the driver's files stay behind. So
the bulk commands (``data_jobs.bulk.ray_session``) register themselves, and ``lifecycle`` ends the registered
commands.

    with registered(head):           # in the command
        ...
    end(settings, report)            # in ``down``: SIGTERM, then some seconds to record the end of the job
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil

from cluster.local import ray_head
from cluster.local.processes import Identity, find, identify, wait_gone
from cluster.local.ray_head import Head
from cluster.settings import Settings

#: Time for a driver to disconnect from Ray and record the end of its job after SIGTERM.
END_TIMEOUT_S = 15.0


@contextmanager
def registered(head: Head) -> Iterator[None]:
    """Register this process as a driver of this head while the ``with`` block runs."""
    folder = _folder(head)
    folder.mkdir(exist_ok=True)
    file = folder / f"{os.getpid()}.json"
    file.write_text(json.dumps(asdict(identify(os.getpid()))), encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def end(settings: Settings, report: Callable[[str], None]) -> None:
    """Send SIGTERM to each registered driver of this home, and wait up to 15 s until the drivers end."""
    head = ray_head.recorded(settings)
    drivers = [] if head is None else list(_running(head))
    if not drivers:
        return
    report(
        f"Ending {len(drivers)} running command{'s' if len(drivers) > 1 else ''}; "
        "documents already written stay"
    )
    for driver in drivers:
        driver.terminate()
    wait_gone(drivers, END_TIMEOUT_S)


def _running(head: Head) -> Iterator[psutil.Process]:
    for file in sorted(_folder(head).glob("*.json")):
        try:
            process = find(Identity(**json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):  # the driver has just ended, or was killed while it wrote
            continue
        if process is not None and process.pid != os.getpid():
            yield process


def _folder(head: Head) -> Path:
    return Path(head.folder) / "drivers"  # removed together with ``head.folder``
