"""One heap for all threads of an engine's process, so that its memory stays what it is.

glibc gives threads heaps of their own. Batches are of every size, and each worker's heap grows until the largest of everything it
ever held lies in it side by side: a replica at saturation went from 0.5 to 2.4 GiB in nine minutes and was still growing. With one
heap, what one thread gives back another takes. Threads of an engine ask for memory a few thousand times a second, so they
do not wait for each other. Called by ``open_engine``.

    share_one_heap()
"""

import ctypes
import sys

#: glibc's name for the number of heaps, in malloc.h.
M_ARENA_MAX = -8


def share_one_heap() -> None:
    """From now on no thread opens another heap. Only glibc knows such heaps; elsewhere nothing changes."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)
