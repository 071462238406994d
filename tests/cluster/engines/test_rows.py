"""An engine's memory does not grow with the number of different batch sizes."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.engines.bert.compiled import library
from cluster.engines.bert.linear import rounded_rows
from cluster.engines.choice.paths import NumericPath
from tests.waiting import LONGEST_WAIT_S

#: Runs one batch of every size in a new process, and prints by how many MiB the second half of them grew it.
SCRIPT = """
import numpy as np, psutil
from cluster.engines import Registry
from cluster.engines.choice.paths import NumericPath, Paths
from cluster.engines.local import LocalEngine
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings

settings, path = Settings(device="cpu", engine_threads=1), NumericPath("{}")
folder, me = open_model_folder(Registry(settings).default), psutil.Process()
engine = LocalEngine(folder, settings, Paths(query=path, batch=path))
for number, length in enumerate(np.random.default_rng(1).permutation(np.arange(2, 122))):
    if number == 60:
        before = me.memory_info().rss
    engine.submit([np.full(length, 2000, np.int32)]).result()
print((me.memory_info().rss - before) / 2**20)
"""


@given(st.integers(1, 100_000))
def test_batches_are_brought_to_few_sizes_at_little_cost(rows: int) -> None:
    rounded = rounded_rows(rows)
    assert rows <= rounded < rows + 64
    assert rounded <= max(rows + 15, rows * 1.25)
    assert rounded_rows(rounded) == rounded


@pytest.mark.parametrize("path", [NumericPath.COMPILED, NumericPath.FLOAT32])
def test_new_sizes_of_batches_cost_no_memory(path: NumericPath) -> None:
    if path is NumericPath.COMPILED and library() is None:
        pytest.skip("no compiled forward: no C compiler, or another processor")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT_S,
    )
    assert float(done.stdout.splitlines()[-1]) < 10
