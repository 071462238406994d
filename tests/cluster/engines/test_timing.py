"""Numeric paths are timed once per model and machine, quickly; timings of other conditions are not used."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from structlog.testing import capture_logs
from torch import Tensor

from cluster.engines import Registry
from cluster.engines.choice.fastest import paths_for
from cluster.engines.choice.kept_timings import timings_of
from cluster.engines.choice.paths import NumericPath, Timings
from cluster.engines.choice.timing import measure, part_of
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings

COMPILED, FLOAT32, BFLOAT16, *_ = NumericPath
PATHS = (COMPILED, FLOAT32)


class Working:
    """An encoder that takes this processor time per call and per token."""

    dim = 1

    def __init__(self, *, call_ms: float, token_ms: float) -> None:
        self.call_ms, self.token_ms, self.calls = call_ms, token_ms, 0

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        self.calls += 1
        end = time.thread_time() + (self.call_ms + self.token_ms * sum(map(len, ids))) / 1e3
        while time.thread_time() < end:
            pass
        return torch.empty(len(ids), 1)


class Measuring:
    """Counts the measurements."""

    def __init__(self, batch_ms: float = 30.0) -> None:
        self.times, self.batch_ms = 0, batch_ms

    def __call__(self) -> Timings:
        self.times += 1
        return Timings(query={COMPILED: 4.0, FLOAT32: 9.0}, batch={COMPILED: self.batch_ms, FLOAT32: 40.0})


def asked(
    home: Path, measuring: Measuring, *, threads: int = 2, paths: Sequence[NumericPath] = PATHS, **config: int
) -> Timings:
    """The timings of the real model under this home."""
    folder = open_model_folder(Registry(Settings()).default)
    folder = replace(folder, config={**folder.config, **config})
    return timings_of(folder, Settings(home=home), threads=threads, paths=paths, measured=measuring)


def file_in(home: Path) -> Path:
    """The single file with timings."""
    (file,) = (home / "engines").iterdir()
    return file


def test_a_query_and_a_batch_are_timed_apart() -> None:
    timings = measure(
        {COMPILED: Working(call_ms=0.2, token_ms=0.05), FLOAT32: Working(call_ms=2.0, token_ms=0.02)}
    )
    assert timings.query[COMPILED] < timings.query[FLOAT32]
    assert timings.batch[COMPILED] > timings.batch[FLOAT32]
    assert timings.query[COMPILED] == pytest.approx(0.95, rel=0.3)


def test_a_path_that_takes_a_thousand_times_as_long_is_called_on_two_tokens_and_no_more() -> None:
    reference = Working(call_ms=0.0, token_ms=50.0)
    timings = measure({COMPILED: Working(call_ms=0.1, token_ms=0.01), FLOAT32: reference})
    assert reference.calls == 1
    assert timings.batch[FLOAT32] > 100 * timings.batch[COMPILED]


def test_real_paths_are_timed_in_a_fraction_of_a_second_of_processor_time(tmp_path: Path) -> None:
    begun = time.process_time()
    paths_for(open_model_folder(Registry(Settings()).default), Settings(home=tmp_path))
    assert time.process_time() - begun < 2.0  # 0.8 on the author's machine, with the layout of the weights


def test_a_large_model_is_timed_by_its_first_layers() -> None:
    small = open_model_folder(Registry(Settings()).default)
    assert part_of(small).config == {**small.config, "num_hidden_layers": 3}
    large = replace(
        small,
        config={**small.config, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
        pooling="cls",
    )
    assert (part_of(large).config["num_hidden_layers"], part_of(large).pooling) == (1, "mean")


def test_timings_are_measured_once_for_a_machine_and_shared_by_its_processes(tmp_path: Path) -> None:
    first, second = Measuring(), Measuring(batch_ms=50.0)
    assert asked(tmp_path, first).batch == asked(tmp_path, second).batch == {COMPILED: 30.0, FLOAT32: 40.0}
    assert (first.times, second.times) == (1, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"threads": 3},
        {"hidden_size": 768},
        {"num_hidden_layers": 12},
        {"paths": (COMPILED, FLOAT32, BFLOAT16)},
    ],
    ids=["threads", "width", "depth", "paths"],
)
def test_another_shape_number_of_threads_or_path_is_measured_for_itself(
    tmp_path: Path, other: dict[str, object]
) -> None:
    measuring = Measuring()
    asked(tmp_path, measuring)
    asked(tmp_path, measuring, **other)  # type: ignore[arg-type]
    assert measuring.times == 2
    asked(tmp_path, measuring)
    assert measuring.times == 2


@pytest.mark.parametrize(
    "condition",
    [
        ("torch.__version__", "9.9"),
        ("cluster.engines.choice.kept_timings._code", lambda: "another"),
        ("cluster.engines.choice.kept_timings.description", lambda: ["another processor"]),
    ],
    ids=["torch", "our own code", "processor"],
)
def test_another_torch_engine_or_processor_is_measured_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: tuple[str, object]
) -> None:
    measuring = Measuring()
    asked(tmp_path, measuring)
    monkeypatch.setattr(*condition)
    asked(tmp_path, measuring)
    assert measuring.times == 2


def test_a_limit_on_the_libraries_instructions_is_measured_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring = Measuring()
    asked(tmp_path, measuring)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    asked(tmp_path, measuring)
    assert measuring.times == 2


def without_a_path(text: str) -> str:
    """The file of a run with one path fewer."""
    kept = json.loads(text)
    del kept["batch"][FLOAT32]
    return json.dumps(kept)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "",
        lambda text: text[:40],
        lambda _: "[]",
        lambda _: '{"of": {}}',
        without_a_path,
        lambda text: text.replace("40.0", "0.0"),
        lambda text: text.replace("40.0", '"slow"'),
        lambda text: text.replace('"threads": 2', '"threads": 4'),
        lambda text: text.replace("torch float32", "a path of old"),
    ],
    ids=[
        "empty",
        "cut off",
        "a list",
        "nothing in it",
        "a path missing",
        "zero",
        "no number",
        "of another machine",
        "an unknown path",
    ],
)
def test_a_damaged_or_stale_file_is_measured_again_and_replaced(tmp_path: Path, damage: object) -> None:
    measuring = Measuring()
    asked(tmp_path, measuring)
    file = file_in(tmp_path)
    file.write_text(damage(file.read_text()))  # type: ignore[operator]
    assert asked(tmp_path, measuring) == asked(tmp_path, measuring)
    assert measuring.times == 2
    assert file_in(tmp_path) == file


def test_a_process_that_measured_at_the_same_time_takes_the_figures_of_the_first(tmp_path: Path) -> None:
    slower = Measuring(batch_ms=50.0)

    class Beside(Measuring):
        def __call__(self) -> Timings:
            asked(tmp_path, slower)
            return super().__call__()

    assert asked(tmp_path, Beside()) == slower()


def test_many_processes_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as processes:
        found = list(processes.map(lambda _: asked(tmp_path, Measuring()), range(32)))
    assert all(timings == found[0] for timings in found)
    assert json.loads(file_in(tmp_path).read_text())["of"]["threads"] == 2


def test_an_engine_opens_and_logs_it_if_its_home_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("no folder")
    with capture_logs() as lines:
        assert asked(tmp_path, Measuring()).batch[COMPILED] == 30.0
    (line,) = [line for line in lines if line["event"] == "timings_not_kept"]
    assert (line["log_level"], str(tmp_path) in line["file"]) == ("warning", True)
