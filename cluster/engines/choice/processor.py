"""Read facts about the processor from Linux; if Linux does not give a fact, use a safe default.

These facts do not say whether an instruction is fast; ``timing`` measures the speed.
"""

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
#: This file holds the microseconds of CPU time that a container gets in each period, and the period. "max"
#: means no limit (cgroup v2).
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
#: Fields of ``CPUINFO`` that distinguish kinds of processors.
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
    """Return True if the processor has bfloat16 instructions (AVX512-BF16, AMX); others emulate bfloat16."""
    return bool(set(_fields().get("flags", "").split()) & {"avx512_bf16", "amx_bf16"})


def description() -> list[str]:
    """Return the fields that identify this kind of processor; empty if they are unknown."""
    return list(_fields().values())


def granted_cores(quota: Path | None = None) -> int:
    """Return the number of cores that this process may use at the same time, by CPU affinity and container
    quota.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        granted, period = (quota or CPU_QUOTA).read_text(encoding="ascii").split()
    except OSError:
        return cores
    return cores if granted == "max" else max(1, min(cores, int(granted) // int(period)))


def _fields() -> dict[str, str]:
    """Read the fields of the first processor."""
    found: dict[str, str] = {}
    try:
        with CPUINFO.open(
            encoding="utf-8"
        ) as lines:  # the file is not read to the end, because it has about thirty lines for each core
            for line in lines:
                key, _, value = (part.strip() for part in line.partition(":"))
                if not key and found:
                    break
                if key in FIELDS:
                    found[key] = value
    except OSError:
        return {}
    return found
