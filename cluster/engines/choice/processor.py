"""Read facts about the processor from Linux; if Linux does not give a fact, use a safe default.

These facts do not say whether an instruction is fast; ``timing`` measures the speed.
"""

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
#: This file of cgroup v2 has two words. The first word is the CPU time in microseconds that a container gets
#: in each period; "max" means no limit. The second word is the length of the period in microseconds.
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
    """Return True if the processor has bfloat16 instructions (AVX512-BF16 or AMX).

    Other processors emulate bfloat16.
    """
    return bool(set(_fields().get("flags", "").split()) & {"avx512_bf16", "amx_bf16"})


def description() -> list[str]:
    """Return the values of the fields that identify this kind of processor; empty if Linux gives no field."""
    return list(_fields().values())


def granted_cores(quota: Path | None = None) -> int:
    """Return the number of cores that this process may use at the same time.

    The CPU affinity of the process and the quota of its container limit this number.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        granted, period = (quota or CPU_QUOTA).read_text(encoding="ascii").split()
    except OSError:
        return cores
    return cores if granted == "max" else max(1, min(cores, int(granted) // int(period)))


def _fields() -> dict[str, str]:
    """Return the fields of the first processor; empty if the file cannot be read."""
    found: dict[str, str] = {}
    try:
        # Stop after the first processor, because the file has about thirty lines for each core.
        with CPUINFO.open(encoding="utf-8") as lines:
            for line in lines:
                key, _, value = (part.strip() for part in line.partition(":"))
                if not key and found:
                    break
                if key in FIELDS:
                    found[key] = value
    except OSError:
        return {}
    return found
