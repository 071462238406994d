"""Distinguish a document that needs too much memory from a damaged document.

Libraries report a lack of memory in many ways, or crash.
"""

import re

#: Messages of C and C++ libraries about a failed allocation.
OUT_OF_MEMORY = re.compile(
    r"[mc]alloc|realloc|bad_alloc|out of memory|cannot allocate|memory allocation|not enough memory",
    re.IGNORECASE,
)
#: A crash with at least this share of the memory limit in use counts as a crash that the limit caused.
NEAR_LIMIT_SHARE = 0.85


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if the error, or an error that caused it, says that memory ran out."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, MemoryError) or OUT_OF_MEMORY.search(str(current)):
            return True
        current = current.__cause__ or current.__context__
    return False


def address_space(pid: int | str = "self") -> tuple[int, int]:
    """Return the largest address space of a process so far, and the resident memory of the process, in bytes.

    RLIMIT_AS limits the address space. For a process that has ended, both numbers are 0.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            found = dict(re.findall(r"^(VmPeak|VmRSS):\s+(\d+) kB$", file.read(), re.MULTILINE))
    except OSError:
        return 0, 0
    return int(found.get("VmPeak", 0)) * 1024, int(found.get("VmRSS", 0)) * 1024
