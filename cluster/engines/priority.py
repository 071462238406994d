"""Priorities of threads, so that work somebody waits for runs before work nobody watches, on the same cores.

Used by the engine's worker threads and by those of the replica that tokenise. Ray starts its workers with a nice value of
15 already, which leaves no room below: start it with ``RAY_worker_niceness=5``, as ``cluster.local`` does.

    step_back(threading.get_native_id())

    lanes = Lanes()
    lanes.join(urgent=False)    # called by each thread as it begins
"""

import os
import sys
import threading

#: A tenth of the weight of a thread that did not step back. With 5 a query waited half as long again; with 19 bulk could starve.
STEP = 10
LEAST = 19


def step_back(thread: int) -> None:
    """Let others go before this thread of this process. Only Linux knows priorities of threads; elsewhere nothing changes."""
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(LEAST, own + STEP))


class Lanes:
    """The threads of one engine, of bulk and urgent: once there was one of the latter, the former step back.

    It knows nothing of the engine: a pool's threads hold on to what began them, and would keep the engine alive, and it them.
    """

    def __init__(self) -> None:
        self._bulk: list[int] = []
        self._steps_back = False
        self._lock = threading.Lock()

    def join(self, *, urgent: bool) -> None:
        """Count the calling thread among those of its lane."""
        thread = threading.get_native_id()
        with self._lock:
            if not urgent:
                self._bulk.append(thread)
                if self._steps_back:
                    step_back(thread)
            elif not self._steps_back:
                self._steps_back = True
                for other in self._bulk:
                    step_back(other)
