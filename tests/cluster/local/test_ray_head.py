"""A head of Ray that ends while it starts: the error has few lines, and only a slow start is tried again."""

import sys
from pathlib import Path

import pytest

from cluster.errors import Unavailable
from cluster.local import ray_head
from tests.conftest import NewHome

#: Counts its runs in a file, and ends as Ray does, with a traceback.
PROGRAM = """
with open({runs!r}, "a") as runs:
    runs.write("run ")
def start():
    raise Exception({message!r})
start()
"""


# The head outlives the command that starts it, so nothing waits for the process.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("message", "runs"),
    [("The current node timed out during startup.", 2), ("The port is not permitted.", 1)],
)
def test_a_head_that_ends_is_an_error_without_a_traceback(
    new_home: NewHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, runs: int
) -> None:
    counted = tmp_path / "runs"
    program = PROGRAM.format(runs=str(counted), message=message)
    monkeypatch.setattr(ray_head, "_command", lambda *_: [sys.executable, "-c", program])
    settings = new_home("slow")
    with pytest.raises(Unavailable) as failed:
        ray_head.start(settings)
    assert counted.read_text().split() == ["run"] * runs
    first, *told = str(failed.value).splitlines()
    assert first.startswith("Ray did not start; ")
    assert told == ["Traceback (most recent call last):", f"Exception: {message}"]
    assert ray_head.recorded(settings) is None
