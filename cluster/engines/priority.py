"""Priorities of threads, so that work somebody waits for runs before work nobody watches, on the same cores.

Used by the engine's worker threads and by those of the replica that tokenise. Ray starts its workers with a nice value of
15 already, which leaves no room below: start it with ``RAY_worker_niceness=5``, as ``cluster.local`` does.

    step_back(threading.get_native_id())
"""

import os
import sys

#: A tenth of the weight of a thread that did not step back. With 5 a query waited half as long again; with 19 bulk could starve.
STEP = 10
LEAST = 19


def step_back(thread: int) -> None:
    """Let others go before this thread of this process. Only Linux knows priorities of threads; elsewhere nothing changes."""
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(LEAST, own + STEP))
