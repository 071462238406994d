"""Priorities of threads, so that work somebody waits for runs before work nobody watches, on the same cores.

Used by the engine's worker threads and by those of the replica that tokenise.

    step_back(threading.get_native_id())
"""

import os
import sys

#: A tenth of the weight of a thread that did not step back. With 5 a query waited half as long again; with 19 bulk could starve.
NICE = 10


def step_back(thread: int) -> None:
    """Let others go before this thread of this process. Only Linux knows priorities of threads; elsewhere nothing changes."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, thread, NICE)
