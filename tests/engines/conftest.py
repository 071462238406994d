"""The oracle, sentence-transformers in float32, and our engines on the same real weights; each loaded once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.engines import Engine, open_engine
from cluster.engines.processor import multiplies_bf16
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings

LICENCE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
#: One text of every kind that has ever broken a tokeniser or a batch, and prose of every length around them.
TEXTS = [
    "",
    " \n\t ",
    "a",
    "unaffable",
    "The quick brown fox jumps over the lazy dog.",
    "naïve café, Ünïcödé ﬁnesse",
    "北京市的天气 ご飯を食べる 한국어",
    "مرحبا بالعالم שלום",
    "👩‍👩‍👧‍👦 zero\u200bwidth \ufeff bom \x00 null \x07 bell",
    "e\u0301 combining a\u0308\u0323",
    "x" * 300,
    "🙂" * 400,
    "word " * 400,
    LICENCE,
    *[LICENCE[at : at + 7 * length] for length, at in enumerate(range(0, 24_000, 400), start=1)],
]

Oracle = Callable[[list[str]], NDArray[np.float32]]


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """``SentenceTransformer.encode`` in float32, one text at a time: no padding, no batch to depend on."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(open_model_folder(Settings()).path), device="cpu", local_files_only=True)

    def encode(texts: list[str]) -> NDArray[np.float32]:
        vectors: Any = model.encode(texts, batch_size=1, normalize_embeddings=True)
        return np.asarray(vectors, dtype=np.float32)

    return encode


@pytest.fixture(scope="session")
def expected(oracle: Oracle) -> NDArray[np.float32]:
    """The oracle's vectors of ``TEXTS``."""
    return oracle(TEXTS)


@cache
def engine_of(path: str) -> Engine:
    """One engine for each path: float32 (compiled, where it can be), float32 by torch, bfloat16, int8, reference."""
    if path == "reference":
        from cluster.engines.reference import ReferenceEngine

        return ReferenceEngine(open_model_folder(Settings()), Settings())
    if path == "float32 by torch":
        return open_by_torch(Settings(precision="float32", device="cpu"))
    settings = Settings(precision=path, device="cpu")
    if path == "int8":  # behind the gate, which has tests of its own
        from cluster.engines.local import LocalEngine

        return LocalEngine(open_model_folder(settings), settings)
    return open_engine(settings)


def open_by_torch(settings: Settings) -> Engine:
    """An engine on torch's forward, also where the compiled one would be taken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cluster.engines.local.unfit", lambda _: "the other one is tested")
        return open_engine(settings)


@pytest.fixture(params=["float32", "float32 by torch", "bfloat16", "int8", "reference"])
def path(request: pytest.FixtureRequest) -> str:
    """The name of a numeric path."""
    if request.param == "bfloat16" and not multiplies_bf16():
        pytest.skip("this processor has neither avx512_bf16 nor amx_bf16")
    return str(request.param)


@pytest.fixture
def engine(path: str) -> Engine:
    """An engine of that path."""
    return engine_of(path)
