"""An engine opens quickly, on the best path for its model, and logs which one."""

import gc
import json
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from structlog.testing import capture_logs

from cluster.engines import Registry, open_engine
from cluster.engines.bert.linear import Linear
from cluster.engines.choice.processor import granted_cores
from cluster.engines.weights import open_model_folder
from cluster.errors import Unavailable
from cluster.settings import Settings
from tests.cluster.engines.conftest import PATHS, engine_of, engine_on
from tests.imported_modules import modules_after
from tests.waiting import until


def test_embedding_imports_neither_transformers_nor_sentence_transformers() -> None:
    found = modules_after(
        "from cluster.engines import Registry, open_engine; from cluster.settings import Settings;"
        "open_engine(Registry(Settings()).default).embed(['a text'])"
    )
    assert "torch" in found
    assert not found & {"transformers", "sentence_transformers", "sklearn", "scipy", "pandas", "ray"}


def test_describing_and_tokenising_import_no_torch() -> None:
    found = modules_after(
        "from cluster.engines import Registry, describe, open_tokeniser; from cluster.settings import "
        "Settings;"
        "entry = Registry(Settings()).default; describe(entry); open_tokeniser(entry).count(['a text'])"
    )
    assert "tokenizers" in found
    assert "torch" not in found


def test_a_family_we_do_not_run_goes_to_sentence_transformers_and_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(open_model_folder(Registry(Settings()).default).path, folder)
    pooling = {"word_embedding_dimension": 384, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with capture_logs() as lines:
        engine = open_engine(Registry(Settings(model_path=folder)).default)
    opened = [line for line in lines if line["event"] == "engine_opened"]
    assert [(line["path"], line["log_level"]) for line in opened] == [("sentence-transformers", "warning")]
    assert "pooling" in opened[0]["because"]
    assert engine.embed(["a text"]).vectors.shape == (1, 384)


def test_a_deleted_engine_gives_its_threads_and_memory_back() -> None:
    def used() -> tuple[int, float]:
        gc.collect()
        return process.num_threads(), process.memory_info().rss

    process = psutil.Process()
    open_engine(Registry(Settings()).default).embed(["a text"] * 8)  # allocates memory that stays
    threads, memory = used()
    for _ in range(4):
        engine = open_engine(Registry(Settings()).default)
        engine.embed(["a text"] * 8)
        engine.submit([np.array([2000], np.int32)], urgent=True).result()
        del engine
    until(lambda: used()[0] <= threads, what="the end of threads")
    assert used()[1] - memory < 100 * 2**20  # one engine has 150 MiB


def test_the_log_names_our_own_path_too() -> None:
    with capture_logs() as lines:
        open_engine(Registry(Settings()).default)
    assert [line["path"] for line in lines if line["event"] == "engine_opened"] == ["packed forward"]


def test_without_onednns_layout_the_vectors_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a text", "another one, which is somewhat longer"]
    packed = engine_of("float32 by torch").embed(texts).vectors
    monkeypatch.setattr("cluster.engines.bert.linear._pack", lambda *_: None)
    plain = engine_on(PATHS["float32 by torch"], Settings(device="cpu"))
    np.testing.assert_allclose(plain.embed(texts).vectors, packed, atol=1e-6)


def test_the_layout_for_onednn_is_in_use_on_this_torch() -> None:
    import torch

    assert Linear(torch.zeros(8, 8), torch.zeros(8)).packed


def test_five_thousand_texts_at_once() -> None:
    texts = [f"text number {number}" for number in range(5_000)]
    vectors = engine_of("float32").embed(texts).vectors
    np.testing.assert_allclose(
        vectors[[17, 4_999]], engine_of("float32").embed([texts[17], texts[4_999]]).vectors, atol=2e-6
    )


def test_a_batch_too_large_for_the_gpu_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    engine = engine_of("float32")
    texts = [f"text {number}" for number in range(40)]
    expected = engine.embed(texts).vectors
    forward = engine._encoder.__class__.__call__

    def with_room_for_three(self: object, ids: list[object]) -> object:
        if len(ids) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids)

    monkeypatch.setattr(engine._encoder.__class__, "__call__", with_room_for_three)
    np.testing.assert_allclose(engine.embed(texts).vectors, expected, atol=2e-6)


def test_an_input_too_large_for_the_gpu_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    engine = engine_of("float32")

    def without_room(self: object, ids: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine._encoder.__class__, "__call__", without_room)
    with pytest.raises(Unavailable):
        engine.embed(["a text"])


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 64), ("250000 100000", 2), ("50000 100000", 1), (None, 64)]
)
def test_threads_keep_to_the_containers_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert granted_cores(tmp_path / "cpu.max") == cores
