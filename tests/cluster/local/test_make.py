"""The Makefile from a newcomer's side: its help, and the environment it makes."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S

TARGETS = ["demo", "up", "down", "status", "doctor", "logs", "test", "faults", "nodes", "lint"]
TARGETS += ["bench", "bench-words", "bench-main-content", "bench-analytics", "lock", "chart", "sbom", "help"]
PINS = ["constraints.txt", "requirements-dev.lock"]
COMPILED = [f"cluster/engines/bert/{name}" for name in ("bert_avx2.c", "pairs_avx2.h", "products_avx2.h")]


def make(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make, with these variables over the environment."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
        timeout=LONGEST_WAIT_S,
    )


def checkout(tmp_path: Path) -> Path:
    """The files that decide how the environment is made, and nothing else."""
    for name in ("Makefile", "pyproject.toml", *PINS, *COMPILED, ".ci/make-venv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_help_shows_every_target_with_a_line() -> None:
    shown = make()

    assert re.findall(r"^  make ([\w-]+) +\S", shown.stdout, re.MULTILINE) == TARGETS
    assert "DOCS=" in shown.stdout


def test_targets_run_in_the_project_s_environment_whichever_is_active() -> None:
    planned = make("-n", "test", "ARGS=tests/local", VIRTUAL_ENV="/elsewhere", PYTHONHOME="/elsewhere")

    command = planned.stdout.replace("\\\n", " ").splitlines()[-1]
    ignored = ["--ignore", "tests/faults", "--ignore-glob", "tests/nodes/test_*"]
    assert shlex.split(command) == [
        ".venv/bin/python", "-m", "pytest", "--numprocesses", "3", *ignored, "tests/local"
    ]  # fmt: skip


def test_a_folder_with_a_space_reaches_the_demo_whole() -> None:
    assert (
        make("-n", "demo", "DOCS=my files").stdout.splitlines()[-1]
        == '.venv/bin/python -m cluster.local.demo "my files"'
    )


def test_without_a_python_that_suits_it_says_what_to_install(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "env", "awk", "tee", "tail", "touch"):
        (programs / name).symlink_to(shutil.which(name) or "")
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n")
    (programs / "python3").chmod(0o755)

    asked = subprocess.run(
        [shutil.which("make") or "make", "test"],
        cwd=checkout(tmp_path),
        capture_output=True,
        text=True,
        env={"PATH": str(programs)},
        timeout=LONGEST_WAIT_S,
    )

    assert asked.returncode != 0
    assert "Python 3.11 or 3.12" in asked.stderr


@pytest.mark.parametrize("changed", [*PINS, *COMPILED])
def test_the_environment_is_made_again_only_when_the_dependencies_or_what_is_compiled_change(
    tmp_path: Path, changed: str
) -> None:
    root = checkout(tmp_path)
    stamp = root / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()

    assert ".ci/make-venv" not in make("-n", "status", cwd=root).stdout
    newer = stamp.stat().st_mtime + 10
    os.utime(root / changed, (newer, newer))
    assert ".ci/make-venv" in make("-n", "status", cwd=root).stdout


def test_every_package_but_torch_is_installed_by_its_hash() -> None:
    script = (ROOT / ".ci" / "make-venv").read_text()

    steps = re.findall(r'^quietly "\$\{pip\[@\]\}" (.+)$', script, re.MULTILINE)
    assert steps == [
        "--constraint constraints.txt --upgrade pip",
        "--no-deps --require-hashes --requirement requirements-dev.lock",
        "--constraint constraints.txt torch",
        "--no-deps --no-build-isolation --editable .",
    ]
