"""Tell a document that needs too much memory from a damaged one: libraries say it in many ways, and some only crash."""

import re

#: What C and C++ libraries say when an allocation fails.
OUT_OF_MEMORY = re.compile(
    r"[mc]alloc|realloc|bad_alloc|out of memory|cannot allocate|memory allocation|not enough memory",
    re.IGNORECASE,
)
#: A process that crashes with this share of its memory limit in use crashed because of the limit.
AT_THE_LIMIT = 0.85


def of_memory(error: BaseException) -> bool:
    """True where the error, or one that it was raised from, says that memory ran out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or OUT_OF_MEMORY.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def address_space(pid: int | str = "self") -> tuple[int, int]:
    """(largest so far, resident now) of a process, in bytes: what RLIMIT_AS limits, and what of it is used. Zeros once it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            found = dict(re.findall(r"^(VmPeak|VmRSS):\s+(\d+) kB$", file.read(), re.MULTILINE))
    except OSError:
        return 0, 0
    return int(found.get("VmPeak", 0)) * 1024, int(found.get("VmRSS", 0)) * 1024
