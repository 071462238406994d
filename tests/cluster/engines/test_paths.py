"""An engine chooses its numeric paths by timings: those of measured processors, and arbitrary ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.engines import Registry
from cluster.engines.bert.compiled import library
from cluster.engines.choice.fastest import open_on_cpu
from cluster.engines.choice.paths import QUERY_TOKENS, WORTH, NumericPath, Paths, Timings, candidates, choose
from cluster.engines.local import LocalEngine
from cluster.engines.weights import open_model_folder
from cluster.errors import Misconfigured
from cluster.settings import Settings
from tests.cluster.engines.conftest import PATHS, engine_on

COMPILED, FLOAT32, BFLOAT16, INT8, INT8_BFLOAT16 = NumericPath
FLOAT32S = (COMPILED, FLOAT32)
#: Milliseconds of a single query and of a batch. For Emerald Rapids and Zen 3, the ratios were measured
#: there.
ZEN_4 = {
    COMPILED: (4.74, 38.3),
    FLOAT32: (7.18, 49.6),
    BFLOAT16: (4.75, 28.6),
    INT8: (5.6, 32.8),
    INT8_BFLOAT16: (5.2, 25.8),
}
EMERALD_RAPIDS = {COMPILED: (3.8, 57.0), FLOAT32: (9.7, 40.0), BFLOAT16: (12.0, 64.5), INT8: (90.0, 20_000.0)}
ZEN_3 = {COMPILED: (3.9, 47.0), FLOAT32: (9.2, 60.0), INT8: (8.0, 40.0)}


def of(figures: dict[NumericPath, tuple[float, float]], *paths: NumericPath) -> Timings:
    """The timings of these paths, or of all paths."""
    kept = {path: ms for path, ms in figures.items() if not paths or path in paths}
    return Timings(
        query={path: ms[0] for path, ms in kept.items()}, batch={path: ms[1] for path, ms in kept.items()}
    )


@pytest.mark.parametrize(
    ("timings", "precision", "query", "batch"),
    [
        (of(ZEN_4, *FLOAT32S), "float32", COMPILED, COMPILED),
        (of(ZEN_4, *FLOAT32S, BFLOAT16), "auto", BFLOAT16, BFLOAT16),
        (of(ZEN_4, *FLOAT32S, INT8, INT8_BFLOAT16), "int8", COMPILED, INT8_BFLOAT16),
        (of(EMERALD_RAPIDS, *FLOAT32S), "float32", COMPILED, FLOAT32),
        (of(EMERALD_RAPIDS, *FLOAT32S, BFLOAT16), "auto", COMPILED, FLOAT32),
        (of(ZEN_3, *FLOAT32S), "auto", COMPILED, COMPILED),
        (of(ZEN_3, *FLOAT32S, INT8), "int8", COMPILED, INT8),
    ],
    ids=[
        "Zen 4",
        "Zen 4 auto",
        "Zen 4 int8",
        "Emerald Rapids",
        "Emerald Rapids auto",
        "Zen 3 auto",
        "Zen 3 int8",
    ],
)
def test_each_load_takes_the_path_that_won_it(
    timings: Timings, precision: str, query: NumericPath, batch: NumericPath
) -> None:
    assert choose(timings, precision) == Paths(query=query, batch=batch)


def test_8_bits_that_are_not_faster_are_refused_with_the_figures_and_the_remedy() -> None:
    with pytest.raises(
        Misconfigured,
        match=r"not faster .* 20000\.0 ms in 8 bits and 40\.0 ms in float32 .* set CLUSTER_PRECISION=auto",
    ):
        choose(of(EMERALD_RAPIDS, *FLOAT32S, INT8), "int8")


ms = st.floats(0.01, 1e5)


@given(st.fixed_dictionaries(dict.fromkeys((COMPILED, FLOAT32, BFLOAT16), st.tuples(ms, ms))))
def test_auto_is_never_slower_than_float32(figures: dict[NumericPath, tuple[float, float]]) -> None:
    timings = of(figures)
    paths = choose(timings, "auto")
    for path, load in ((paths.query, timings.query), (paths.batch, timings.batch)):
        assert load[path] * WORTH <= min(load[exact] for exact in FLOAT32S) * (1 + 1e-9)


def test_of_equally_fast_paths_the_one_with_the_same_bits_in_any_batch_is_taken() -> None:
    assert choose(of(dict.fromkeys((COMPILED, FLOAT32, BFLOAT16), (5.0, 50.0))), "auto") == Paths(
        query=COMPILED, batch=COMPILED
    )


def test_a_precision_has_paths_of_that_precision_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.engines.choice.paths.unfit", lambda _: None)
    monkeypatch.setattr("cluster.engines.choice.paths.multiplies_bf16", lambda: True)
    folder = open_model_folder(Registry(Settings()).default)
    assert candidates(folder, "float32") == FLOAT32S
    assert candidates(folder, "bfloat16") == (BFLOAT16,)
    assert candidates(folder, "auto") == (*FLOAT32S, BFLOAT16)
    assert candidates(folder, "int8") == (*FLOAT32S, INT8, INT8_BFLOAT16)
    monkeypatch.setattr("cluster.engines.choice.paths.multiplies_bf16", lambda: False)
    assert candidates(folder, "auto") == FLOAT32S
    assert candidates(folder, "int8") == (*FLOAT32S, INT8)


@pytest.mark.parametrize(
    ("query", "batch", "precision"),
    [(COMPILED, FLOAT32, "float32"), (COMPILED, BFLOAT16, "bfloat16"), (COMPILED, INT8, "int8")],
)
def test_a_fingerprint_names_the_coarsest_arithmetic_a_vector_may_come_from(
    query: NumericPath, batch: NumericPath, precision: str
) -> None:
    assert Paths(query=query, batch=batch).precision == Paths(query=batch, batch=query).precision == precision


def test_a_lone_query_and_a_batch_go_to_the_paths_that_won_them(monkeypatch: pytest.MonkeyPatch) -> None:
    if library() is None:
        pytest.skip("no compiled forward: no C compiler, or another processor")
    monkeypatch.setattr(
        "cluster.engines.choice.fastest.timings_of", lambda *_, **__: of(EMERALD_RAPIDS, *FLOAT32S)
    )
    settings = Settings(device="cpu")
    encoder, precision = open_on_cpu(open_model_folder(Registry(settings).default), settings)
    assert precision == "float32"
    compiled, torchs = (engine_on(PATHS[path], settings) for path in ("compiled", "float32 by torch"))
    assert isinstance(compiled, LocalEngine)
    assert isinstance(torchs, LocalEngine)
    for lengths, expected in (
        ([QUERY_TOKENS], compiled),
        ([QUERY_TOKENS - 5, 5], compiled),
        ([QUERY_TOKENS + 1], torchs),
        ([QUERY_TOKENS, 1], torchs),
    ):
        ids = [np.arange(1000, 1000 + length, dtype=np.int32) for length in lengths]
        assert np.array_equal(encoder(ids).numpy(), expected._encoder(ids).numpy())
