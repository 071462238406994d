"""Our engines on real weights, and sentence-transformers in float32 as their oracle; each is loaded once."""

import math
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.engines import Engine, Registry, open_engine
from cluster.engines.bert.compiled import library
from cluster.engines.choice.paths import NumericPath, Paths
from cluster.engines.local import LocalEngine
from cluster.engines.registry import KINDS
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_engine
from tests.hashing_engine import KIND, NAME, SOURCE, hashing_kind
from tests.simulators.openai import simulator

LICENCE = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
#: One text of every kind that once broke a tokeniser or a batch, and prose of many lengths.
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
    """``SentenceTransformer.encode`` in float32, one text at a time, so that nothing is padded."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(open_model_folder(Registry(Settings()).default).path), device="cpu", local_files_only=True
    )

    def encode(texts: list[str]) -> NDArray[np.float32]:
        vectors: Any = model.encode(texts, batch_size=1, normalize_embeddings=True)
        return np.asarray(vectors, dtype=np.float32)

    return encode


@pytest.fixture(scope="session")
def vectors_of_oracle(oracle: Oracle) -> NDArray[np.float32]:
    """The oracle's vectors of ``TEXTS``."""
    return oracle(TEXTS)


#: The paths that are tested on every machine that can run them, even where other paths are faster.
PATHS = {
    "compiled": Paths(query=NumericPath.COMPILED, batch=NumericPath.COMPILED),
    "float32 by torch": Paths(query=NumericPath.FLOAT32, batch=NumericPath.FLOAT32),
    "float32 by size": Paths(query=NumericPath.COMPILED, batch=NumericPath.FLOAT32),
    "bfloat16": Paths(query=NumericPath.BFLOAT16, batch=NumericPath.BFLOAT16),
    "int8": Paths(query=NumericPath.INT8_FLOAT32, batch=NumericPath.INT8_FLOAT32),
}
#: Tokens per second of one thread. Below SLOW, only short texts are embedded (emulated bfloat16 on AVX2:
#: 700); below HOPELESS, none.
SLOW, HOPELESS = 1_500, 50
#: Positions of the texts that a slow path embeds.
SHORT = [number for number, text in enumerate(TEXTS) if len(text) < 120]


#: The engine ``openai`` at a simulator, while the fixture ``simulated`` runs.
SIMULATED: list[Engine] = []


@pytest.fixture(scope="session")
def simulated(settings: Settings, pool: ConnectionPool) -> Iterator[None]:
    """Run the simulator, and an engine that calls it."""
    with pytest.MonkeyPatch.context() as patch, simulator() as server:
        patch.setenv(KEY_ENV, KEY)
        engine = remote_engine(settings, server)
        SIMULATED.append(engine)
        yield
        SIMULATED.clear()
        engine.close()


@cache
def engine_of(path: str) -> Engine:
    """The engine of a path; for ``float32``, the engine that the default settings open."""
    if path == "reference":
        from cluster.engines.reference import ReferenceEngine

        return ReferenceEngine(open_model_folder(Registry(Settings()).default), Settings())
    if path == KIND:
        with hashing_kind():
            return open_engine(Registry(Settings(model=NAME, models={NAME: SOURCE})).default)
    if path == "openai":
        return SIMULATED[0]
    if path == "float32":
        return open_engine(Registry(Settings(device="cpu")).default)
    return engine_on(PATHS[path], Settings(device="cpu"))


def engine_on(paths: Paths, settings: Settings) -> Engine:
    """An engine on these paths, even where others are faster."""
    if NumericPath.COMPILED in (paths.query, paths.batch) and library() is None:
        assert shutil.which("cc") is None or platform.machine() != "x86_64"
        pytest.skip("no compiled forward: no C compiler, or another processor")
    return LocalEngine(open_model_folder(Registry(settings).default), settings, paths)


@cache
def tokens_per_second(path: str) -> float:
    """Speed on a single input, in processor time; infinite for the oracle, which is always tested."""
    engine, speed = engine_of(path), math.inf
    for tokens in () if path == "reference" else (2, 2, 30, 30):
        begun = time.process_time()
        engine.embed_ids([np.full(tokens, 2000, np.int32)])
        speed = tokens / (time.process_time() - begun)
        if speed < HOPELESS / 25:
            break
    return speed


#: The paths that compute the vectors of the packaged model.
OF_THE_WEIGHTS = [*PATHS, "reference"]


#: The kinds of engine without weights of their own. A new row of ``KINDS`` needs a case in ``engine_of``.
OTHER_KINDS = [*(kind for kind in KINDS if kind not in ("local", "sentence-transformers")), KIND]


@pytest.fixture(params=[*OF_THE_WEIGHTS, *OTHER_KINDS])
def path(request: pytest.FixtureRequest) -> str:
    """The name of a numeric path, or of a kind of engine without weights."""
    if request.param == "openai":
        request.getfixturevalue("simulated")
    if (speed := tokens_per_second(request.param)) < HOPELESS:
        pytest.skip(f"{request.param} was measured here: {speed:.0f} tokens/s")
    return str(request.param)


@pytest.fixture
def engine(path: str) -> Engine:
    """An engine of that path."""
    return engine_of(path)


@pytest.fixture
def texts(path: str) -> list[str]:
    """``TEXTS``; only the short ones if the path is slow."""
    return texts_for(path)


def texts_for(path: str) -> list[str]:
    """The texts with which this path is tested."""
    return TEXTS if tokens_per_second(path) >= SLOW else [TEXTS[number] for number in SHORT]


@pytest.fixture
def vectors(path: str) -> NDArray[np.float32]:
    """Vectors of ``texts``, which the path's engine has embedded in one call."""
    return vectors_of(path)


@cache
def vectors_of(path: str) -> NDArray[np.float32]:
    """Vectors of the path's texts, embedded once for all tests of this path."""
    return engine_of(path).embed(texts_for(path)).vectors


@pytest.fixture
def expected(texts: list[str], vectors_of_oracle: NDArray[np.float32]) -> NDArray[np.float32]:
    """The oracle's vectors of ``texts``."""
    return vectors_of_oracle if texts is TEXTS else vectors_of_oracle[SHORT]
