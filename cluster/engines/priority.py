"""Set the priorities of threads, which make urgent work run before bulk work on the same cores.

Engines use this module for their threads, and replicas use it for threads that tokenise bulk texts. Ray
starts its workers with a nice value of 15, which leaves too little room for lower priorities. So start Ray
with ``RAY_worker_niceness=5``; ``cluster.local`` does this.

    lower_priority(threading.get_native_id())

    lanes = Lanes()
    lanes.join(urgent=False)    # called by each thread as it begins
"""

import os
import sys
import threading

#: Number added to the nice value of a bulk thread. For the scheduler, the bulk thread then has a tenth of the
#: weight of an urgent thread. With 5, queries waited 1.5 times as long. With 19, bulk threads could get no
#: processor time.
NICE_STEP = 10
#: The largest nice value on Linux.
LOWEST_PRIORITY_NICE = 19


def lower_priority(thread: int) -> None:
    """Lower the priority of a thread of this process. On systems other than Linux, do nothing."""
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(LOWEST_PRIORITY_NICE, own + NICE_STEP))


class Lanes:
    """The bulk and urgent threads of one engine. The first urgent thread lowers the priority of bulk threads.

    This object holds no reference to the engine. Otherwise the threads of a pool, which refer to their
    initialiser's arguments, would prevent Python from freeing the engine.
    """

    def __init__(self) -> None:
        self._bulk: list[int] = []
        self._bulk_is_lowered = False
        self._lock = threading.Lock()

    def join(self, *, urgent: bool) -> None:
        """Register the calling thread as an urgent or a bulk thread, and lower priorities if needed."""
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
