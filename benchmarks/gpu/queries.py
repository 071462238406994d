"""Step 6: a lone query, 64 clients through the batcher in one process, the start of an engine, its memory."""

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.engine import QUERY, EngineParty
from benchmarks.gpu.step import Step, engine_of, model_of
from benchmarks.peers.texts import Texts
from cluster.engines.local import LocalEngine
from serve_app.embedding.batching.batcher import Batcher

QUERIES, CLIENTS, REQUESTS = 300, 64, 60
#: Maximum number of tokens of a batch of the batcher.
BATCHES = (2_048, 8_192, 16_384)
MIB = 2**20


def run(step: Step) -> None:
    """Measure a replica's engine as the endpoint uses it."""
    engine = None
    with step.part("memory"):
        engine = _opened(step)
    if engine is None:
        return
    with step.part("a lone query"):
        _lone(step, engine, "recorded")
        engine._replays = None
        _lone(step, engine, "not recorded")
    engine = engine_of(step, step.small)
    for tokens in (256,) if step.rehearsal else BATCHES:
        with step.part(f"clients, {tokens}"):
            asyncio.run(_clients(step, engine, tokens))
    with step.part("cold start"):
        _cold_starts(step)


def _opened(step: Step) -> LocalEngine:
    cuda = step.device.type == "cuda"
    before = torch.cuda.mem_get_info()[0] if cuda else 0
    started = time.perf_counter()
    engine = engine_of(step, step.small)
    engine.embed([QUERY])
    opened_s = time.perf_counter() - started
    step.row(
        "memory",
        engine="MiniLM",
        seconds_to_open=round(opened_s, 2),
        mib_of_the_card=round((before - torch.cuda.mem_get_info()[0]) / MIB) if cuda else 0,
        mib_of_tensors=round(torch.cuda.memory_allocated() / MIB) if cuda else 0,
    )
    return engine


def _lone(step: Step, engine: LocalEngine, way: str) -> None:
    """Ask one query after the other, with and without tokenising."""
    ids = engine.tokeniser.ids([QUERY])
    asked: dict[str, Callable[[], Any]] = {
        "ids": lambda: engine.submit(ids, urgent=True).result(),
        "text": lambda: engine.embed([QUERY]),
    }
    for name, ask in asked.items():
        times = []
        for _ in range(step.sized(QUERIES, 5)):
            started = time.perf_counter()
            ask()
            times.append(1e3 * (time.perf_counter() - started))
        p50, p95 = np.percentile(times[len(times) // 10 :], (50, 95))
        step.row(
            "a lone query",
            way=way,
            of=name,
            tokens=len(ids[0]) + 2,
            p50_ms=round(p50, 3),
            p95_ms=round(p95, 3),
        )


async def _clients(step: Step, engine: LocalEngine, tokens: int) -> None:
    """Let clients ask one sentence after the other, all in the interactive lane."""
    batcher = Batcher(engine, batch_tokens=tokens, max_waiting_tokens=10_000_000)
    texts = Texts(seed=3)
    times: list[float] = []

    async def client(sentences: list[str]) -> None:
        for sentence in sentences:
            started = time.perf_counter()
            await batcher.embed(engine.tokeniser.ids([sentence]))
            times.append(1e3 * (time.perf_counter() - started))

    count = step.sized(REQUESTS, 2)
    work = [[texts.sentence() for _ in range(count)] for _ in range(step.sized(CLIENTS, 4))]
    await client([texts.sentence() for _ in range(5)])
    times.clear()
    started = time.perf_counter()
    await asyncio.gather(*map(client, work))
    passed = time.perf_counter() - started
    step.row(
        "clients through the batcher",
        clients=len(work),
        batch=tokens,
        texts_a_second=round(len(times) / passed),
        p50_ms=round(statistics.median(times), 2),
        p95_ms=round(float(np.percentile(times, 95)), 2),
    )


def _cold_starts(step: Step) -> None:
    """Measure the start of a process until its first vector."""
    names = (f"ours {step.precision}", f"sentence-transformers, batch 32 {step.precision}")
    for name in names[: step.sized(2, 1)]:
        party = EngineParty(name, model_of(step.small).path)
        step.row("cold start", engine=name, seconds=round(party.cold_start_s, 2))
        party.close()
