"""What this processor multiplies fastest, as Linux describes it. Elsewhere nothing is known, and the careful answer is given.

Called by whatever chooses a type or a kernel.
"""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
#: AMD's number for Zen 3 and Zen 4. The second has AVX-512, each instruction of which it computes in two halves of 256 bits
#: (AMD, Software Optimization Guide for the Zen 4 microarchitecture), so that it multiplies no faster by them.
ZEN_3_AND_4 = "25"


def multiplies_bf16() -> bool:
    """True where bfloat16 is an instruction's (AVX512-BF16 or AMX); elsewhere it is emulated and slower."""
    return bool(_flags() & {"avx512_bf16", "amx_bf16"})


def gains_by_avx512() -> bool:
    """True where a register of 512 bits multiplies more at a time than one of 256."""
    return "avx512f" in _flags() and _field("cpu family") != ZEN_3_AND_4


def _flags() -> set[str]:
    return set(_field("flags").split())


def _field(name: str) -> str:
    """What the first processor's line of that name says; empty where there is none."""
    try:
        with CPUINFO.open(encoding="utf-8") as lines:  # not read to its end: it has some thirty lines for each core
            return next((value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == name), "")
    except OSError:
        return ""
