"""The benchmark for a GPU, whose time is short, runs to its end: rehearsed on the CPU with tiny sizes."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.__main__ import STEPS
from tests.conftest import ROOT
from tests.waiting import LONGEST_COMMAND_S


def test_a_rehearsal_runs_every_step_without_an_error_and_every_path_is_correct(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--rehearse", "--out", str(tmp_path)]
    command += ["--seconds", str(LONGEST_COMMAND_S)]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_COMMAND_S, check=False
    )
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row for row in rows if row["table"] == "errors"] == []
    assert ended.returncode == 0, ended.stdout[-3_000:] + ended.stderr[-3_000:]
    assert {row["step"] for row in rows} == set(STEPS)
    assert sum(row["table"] == "correctness" and row["holds"] for row in rows) > 10
