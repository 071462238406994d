"""Step 5: tokens a second from texts, with one and more processes that tokenise ahead of the engine.

Each process tokenises parts of the texts with the word cache and returns the ids. The engine computes the
parts in the order in which they arrive. The table says whether the processes or the GPU limit the rate.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.step import Ids, Step, engine_of, flops_per_token, model_of
from benchmarks.peers.shapes import MINILM
from benchmarks.peers.texts import Texts
from cluster.engines import Registry, Tokeniser, open_tokeniser
from cluster.engines.local import LocalEngine
from cluster.settings import Settings

MODELS = (MINILM, "base")
PROCESSES = (1, 4, 12)
TEXTS, PART = 24_000, 250
#: Batches' tokens, and parts that the engine embeds at the same time: one of them waits for each of its
#: streams.
TOKENS, AT_ONCE = 16_384, 6

#: Ids of several inputs one after the other, and their lengths: what travels between processes.
Flat = tuple[NDArray[np.int32], NDArray[np.int32]]


def run(step: Step) -> None:
    """Measure each model with each number of processes."""
    texts = Texts(seed=2).passages(step.sized(TEXTS, 60))
    size = step.sized(PART, 10)
    parts = [texts[at : at + size] for at in range(0, len(texts), size)]
    for name in ("tiny",) if step.rehearsal else MODELS:
        with step.part(name):
            engine = engine_of(step, name, bulk_batch_tokens=TOKENS)
            ids = [_whole(_tokenised(part)) for part in parts]
            tokens = sum(len(one) + engine.tokeniser.special_tokens for part in ids for one in part)
            _embed(engine, iter(ids[:4]))
            alone = tokens / _timed(engine, iter(ids))
            flops = flops_per_token(model_of(name), tokens / len(texts))
            for processes in (1,) if step.rehearsal else PROCESSES:
                tokenised, rate = _ahead(engine, parts, tokens, processes)
                step.row(
                    "tokens a second from text",
                    model=name,
                    processes=processes,
                    million_a_second=round(rate / 1e6, 3),
                    share_of_peak=step.share(rate * flops),
                    tokenised=round(tokenised / 1e6, 3),
                    engine_alone=round(alone / 1e6, 3),
                    limit="tokenising" if tokenised < alone else "engine",
                )


def _ahead(engine: LocalEngine, parts: list[list[str]], tokens: int, processes: int) -> tuple[float, float]:
    """Return the tokens a second of the processes alone, and of processes and engine together."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(_tokenised, parts[: 2 * processes]))  # the processes start, and their caches fill
        started = time.perf_counter()
        for _ in pool.map(_tokenised, parts):
            pass
        alone_s = time.perf_counter() - started
        together_s = _timed(engine, map(_whole, pool.map(_tokenised, parts)))
    return tokens / alone_s, tokens / together_s


def _timed(engine: LocalEngine, parts: Iterator[Ids]) -> float:
    started = time.perf_counter()
    _embed(engine, parts)
    return time.perf_counter() - started


def _embed(engine: LocalEngine, parts: Iterator[Ids]) -> None:
    """Embed the parts, some of them at the same time."""
    with ThreadPoolExecutor(AT_ONCE) as callers:
        running: list[Future[NDArray[np.float32]]] = []
        for part in parts:
            running.append(callers.submit(engine.embed_ids, part))
            if len(running) >= 2 * AT_ONCE:
                running.pop(0).result()
        for one in running:
            one.result()


@cache
def _tokeniser() -> Tokeniser:
    return open_tokeniser(Registry(Settings()).default)


def _tokenised(texts: list[str]) -> Flat:
    tokeniser = _tokeniser()
    ids = [one[: tokeniser.max_content_tokens] for one in tokeniser.ids(texts)]
    return np.concatenate(ids), np.array([len(one) for one in ids], np.int32)


def _whole(flat: Flat) -> Ids:
    ids, lengths = flat
    return np.split(ids, np.cumsum(lengths)[:-1])
