"""The facts that are read from Linux's description of a processor."""

from pathlib import Path

import pytest

from cluster.engines.choice import processor


@pytest.mark.parametrize(
    ("flags", "bf16"),
    [
        ("fma avx2", False),  # Zen 3
        ("fma avx2 avx512f avx512_vnni avx512_bf16", True),  # Zen 4
        ("fma avx2 avx512f avx512_vnni", False),  # Ice Lake
    ],
)
def test_bfloat16_is_timed_if_the_processor_has_instructions_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, bf16: bool
) -> None:
    told(
        tmp_path,
        monkeypatch,
        f"processor\t: 0\ncpu MHz\t\t: 1200\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t: none\n",
    )
    assert processor.multiplies_bf16() == bf16
    assert processor.description() == [flags]


def test_without_a_description_the_answers_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "absent")
    assert not processor.multiplies_bf16()
    assert processor.description() == []


def told(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    """Replace Linux's description of the processor."""
    (folder / "cpuinfo").write_text(lines)
    monkeypatch.setattr(processor, "CPUINFO", folder / "cpuinfo")
