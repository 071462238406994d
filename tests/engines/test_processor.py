"""What is read from a processor's description."""

from pathlib import Path

import pytest

from cluster.engines import processor


@pytest.mark.parametrize(
    ("family", "flags", "bf16", "avx512"),
    [
        ("25", "fma avx2", False, False),  # Zen 3
        ("25", "fma avx2 avx512f avx512_vnni avx512_bf16", True, False),  # Zen 4
        ("26", "fma avx2 avx512f avx512_vnni avx512_bf16", True, True),  # Zen 5
        ("6", "fma avx2 avx512f avx512_vnni", False, True),  # Ice Lake
        ("6", "fma avx2 avx_vnni", False, False),  # Alder Lake
    ],
)
def test_what_a_processor_multiplies_fastest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, flags: str, bf16: bool, avx512: bool
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\ncpu family\t: {family}\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    monkeypatch.setattr(processor, "CPUINFO", file)
    assert (processor.multiplies_bf16(), processor.gains_by_avx512()) == (bf16, avx512)


def test_where_nothing_is_told_nothing_is_presumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "absent")
    assert not any(ask() for ask in (processor.multiplies_bf16, processor.gains_by_avx512))
