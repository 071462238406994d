"""Priorities of threads: urgent work runs before bulk work on the same cores.

Used by the threads of engines, and by the threads of replicas that tokenise bulk texts. Ray starts its
workers with a nice value of 15, which leaves no room for lower priorities: start it with
``RAY_worker_niceness=5``, as ``cluster.local`` does.

    lower_priority(threading.get_native_id())

    lanes = Lanes()
    lanes.join(urgent=False)    # called by each thread as it begins
"""

import os
import sys
import threading

#: Added to the nice value, so that a bulk thread gets a tenth of the weight of an urgent one. With 5, queries
#: waited 1.5 times as long; with 19, bulk could starve.
NICE_STEP = 10
#: The largest nice value.
LOWEST_PRIORITY_NICE = 19


def lower_priority(thread: int) -> None:
    """Lower the priority of a thread of this process. Does nothing except on Linux."""
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(LOWEST_PRIORITY_NICE, own + NICE_STEP))


class Lanes:
    """The bulk and urgent threads of one engine. The first urgent thread lowers the priority of bulk.

    It holds no reference to the engine: the threads of a pool refer to their initialiser and would keep the
    engine alive.
    """

    def __init__(self) -> None:
        self._bulk: list[int] = []
        self._bulk_is_lowered = False
        self._lock = threading.Lock()

    def join(self, *, urgent: bool) -> None:
        """Add the calling thread to its lane."""
        thread = threading.get_native_id()
        with self._lock:
            if not urgent:
                self._bulk.append(thread)
                if self._bulk_is_lowered:
                    lower_priority(thread)
            elif not self._bulk_is_lowered:
                self._bulk_is_lowered = True
                for other in self._bulk:
                    lower_priority(other)
