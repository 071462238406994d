"""A program in the place of Tesseract, for tests of everything but recognition itself."""

import os
from pathlib import Path

import pytest

#: It has English and German, and does ``ACT`` with each picture.
#: A parsing process that an earlier test started without Tesseract has an empty PATH.
SCRIPT = """#!/bin/sh
PATH=/usr/bin:/bin
case "$*" in
--version) echo "tesseract 9.9.9" ;;
--list-langs) printf 'List of available languages (2):\\neng\\ndeu\\n' ;;
*) cat >/dev/null; ACT ;;
esac
"""
#: Finds the text "word" in each picture.
WORD = r"printf '5\t1\t1\t1\t1\t1\t0\t0\t9\t9\t87.5\tword\n'"


def write_program(folder: Path, act: str) -> Path:
    """Write the program with this shell command for each picture."""
    file = folder / "tesseract"
    file.write_text(SCRIPT.replace("ACT", act))
    file.chmod(0o755)
    return file


def put_first(folder: Path, act: str, patch: pytest.MonkeyPatch) -> Path:
    """Write the program, and let it be found before Tesseract."""
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return write_program(folder, act)
