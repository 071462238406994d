"""Facts about the processor, as Linux describes it; on other systems, safe defaults.

Whether an instruction is fast is not among them: ``timing`` measures that.
"""

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
#: Microseconds of CPU time that a container gets in each period, and the period; "max" means no limit (cgroup
#: v2).
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
#: Fields that tell one kind of processor from another.
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
    """True if the processor has instructions for bfloat16 (AVX512-BF16 or AMX); otherwise it is emulated."""
    return bool(set(_fields().get("flags", "").split()) & {"avx512_bf16", "amx_bf16"})


def description() -> list[str]:
    """The fields that tell this kind of processor from others; empty if they are unknown."""
    return list(_fields().values())


def granted_cores(quota: Path | None = None) -> int:
    """Cores that this process may use at once, limited by its affinity and by its container's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        granted, period = (quota or CPU_QUOTA).read_text(encoding="ascii").split()
    except OSError:
        return cores
    return cores if granted == "max" else max(1, min(cores, int(granted) // int(period)))


def _fields() -> dict[str, str]:
    """The fields of the first processor."""
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
