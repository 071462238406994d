"""What a processor is and what it has, as Linux describes it. Elsewhere nothing is known, and the careful answer is given.

What is fast on it, no flag says: ``timing`` measures that.
"""

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
#: Microseconds of CPU time a container gets in each period, and the period; "max" when there is no limit (cgroup v2).
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
#: What tells one kind of processor from another.
FIELDS = (
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "CPU implementer",
    "CPU part",
    "flags",
    "Features",
)


def multiplies_bf16() -> bool:
    """True where bfloat16 is an instruction's (AVX512-BF16 or AMX), fast or not; elsewhere it is emulated."""
    return bool(set(_fields().get("flags", "").split()) & {"avx512_bf16", "amx_bf16"})


def description() -> list[str]:
    """Return what tells this kind of processor from others; empty where nothing is known."""
    return list(_fields().values())


def granted_cores(quota: Path | None = None) -> int:
    """Cores this process may use at once: those it may run on, or fewer where its container's quota says so."""
    cores = len(os.sched_getaffinity(0))
    try:
        granted, period = (quota or CPU_QUOTA).read_text(encoding="ascii").split()
    except OSError:
        return cores
    return cores if granted == "max" else max(1, min(cores, int(granted) // int(period)))


def _fields() -> dict[str, str]:
    """The lines of the first processor."""
    found: dict[str, str] = {}
    try:
        with CPUINFO.open(
            encoding="utf-8"
        ) as lines:  # not read to its end: it has some thirty lines for each core
            for line in lines:
                key, _, value = (part.strip() for part in line.partition(":"))
                if not key and found:
                    break
                if key in FIELDS:
                    found[key] = value
    except OSError:
        return {}
    return found
