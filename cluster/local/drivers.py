"""Commands that work on this home's cluster from processes of their own, so that ``down`` can end them before it takes the cluster away.

Ray ends a driver that lost its cluster at once, without a line and with its files left behind. Used by ``data_jobs.bulk.ray_session`` and
``lifecycle``.

    with registered(head):           # in the command
        ...
    end(settings, tell)              # in ``down``: SIGTERM, and some seconds to record what it means
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

#: A driver that was told to end disconnects from Ray and records the end of its job.
PATIENCE_S = 15.0


@contextmanager
def registered(head: Head) -> Iterator[None]:
    """This process is known to ``end`` inside the block, as one that works on this head."""
    folder = _folder(head)
    folder.mkdir(exist_ok=True)
    file = folder / f"{os.getpid()}.json"
    file.write_text(json.dumps(asdict(identify(os.getpid()))), encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def end(settings: Settings, tell: Callable[[str], None]) -> None:
    """Tell every such command to end, and wait until they have."""
    head = ray_head.recorded(settings)
    drivers = [] if head is None else list(_running(head))
    if not drivers:
        return
    tell(
        f"Ending {len(drivers)} command{'s' if len(drivers) > 1 else ''} at work on the cluster; what is written stays"
    )
    for driver in drivers:
        driver.terminate()
    wait_gone(drivers, PATIENCE_S)


def _running(head: Head) -> Iterator[psutil.Process]:
    for file in sorted(_folder(head).glob("*.json")):
        try:
            process = find(Identity(**json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):  # it ended just now, or was cut short while it wrote
            continue
        if process is not None and process.pid != os.getpid():
            yield process


def _folder(head: Head) -> Path:
    return Path(head.folder) / "drivers"  # which goes with the head
