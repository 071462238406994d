"""Time each numeric path on this machine, with a single query and with a batch, in a fraction of a second.

Called once for each model and machine, when an engine first opens; ``kept_timings`` keeps the figures.

    part = part_of(folder)
    timings = measure({path: open_path(path, part) for path in paths})

Paths are timed in turns, in the processor time of one thread, and the shortest of a few calls counts, so that
other work on the machine changes little. The first layers of a model represent all of them. An engine has one
thread per core; two threads at once changed no path's time by more than 5%.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.engines.choice.paths import Encoder, NumericPath, Timings
from cluster.engines.families import family_of
from cluster.engines.weights import ModelFolder

#: Tokens of each input of the two loads. From 128 rows on, matrix products run at full speed.
QUERY, BATCH = (15,), (128, 64)
#: Tokens of the first input of every path: a small product finds the paths that would take seconds.
PROBE = (2,)
#: Calls of each load, after a first one in which memory and kernels are prepared.
PROBES, QUERIES, BATCHES = 2, 5, 2
#: A path that takes this many times the best path's time is not called again: a reference kernel takes
#: thousands.
HOPELESS_PROBE, HOPELESS = 20.0, 3.0
#: Fewest weights in the layers that are timed: three layers of MiniLM, 20 MB in float32, more than a core's
#: own caches.
PART_WEIGHTS = 5_000_000

Milliseconds = dict[NumericPath, float]


def part_of(folder: ModelFolder) -> ModelFolder:
    """The model with only its timed layers, and mean pooling, which needs all tokens of the last layer."""
    family = family_of(folder.config)
    assert family is not None  # checked by ``forward.supports``
    hidden, inner, depth = (int(folder.config[key]) for key in (family.hidden, family.inner, family.depth))
    layers = min(depth, -(-PART_WEIGHTS // (4 * hidden * hidden + 2 * hidden * inner)))
    return replace(folder, config={**folder.config, family.depth: layers}, pooling="mean")


def measure(encoders: Mapping[NumericPath, Encoder]) -> Timings:
    """Time the encoders of one model on the same inputs."""
    # OpenMP keeps the number of threads per calling thread, so other threads keep theirs.
    with ThreadPoolExecutor(1, "timing", torch.set_num_threads, (1,)) as alone:
        return alone.submit(_measure, encoders).result()


@torch.inference_mode()
def _measure(encoders: Mapping[NumericPath, Encoder]) -> Timings:
    probed = _least(encoders, PROBE, PROBES, hopeless=HOPELESS_PROBE)
    best = min(probed.values())
    hopeful = {path: encoder for path, encoder in encoders.items() if probed[path] <= HOPELESS_PROBE * best}
    query = _least(hopeful, QUERY, QUERIES, hopeless=HOPELESS_PROBE)
    batch = _least(hopeful, BATCH, BATCHES, hopeless=HOPELESS)
    return Timings(query=_estimated(probed, QUERY) | query, batch=_estimated(probed, BATCH) | batch)


def _least(
    encoders: Mapping[NumericPath, Encoder], lengths: Sequence[int], calls: int, *, hopeless: float
) -> Milliseconds:
    """The shortest time of each path."""
    draw = np.random.default_rng(0)
    # Every vocabulary has these ids.
    ids = [draw.integers(0, 1_000, length).astype(np.int32) for length in lengths]
    least = {path: _ms(encoder, ids) for path, encoder in encoders.items()}
    best = min(least.values())
    for _ in range(calls):
        for path, encoder in encoders.items():
            if least[path] <= hopeless * best:
                least[path] = min(least[path], _ms(encoder, ids))
    return least


def _ms(encoder: Encoder, ids: Sequence[NDArray[np.int32]]) -> float:
    begun = time.thread_time()
    encoder(ids)
    return (time.thread_time() - begun) * 1e3


def _estimated(probed: Milliseconds, lengths: Sequence[int]) -> Milliseconds:
    """The estimated time of paths that were only probed."""
    return {path: ms * sum(lengths) / sum(PROBE) for path, ms in probed.items()}
