"""Time each numeric path on this machine, with a single query and with a batch, in a fraction of a second.

The paths are timed when an engine first opens on a machine; ``kept_timings`` keeps the timings for later.

    part = part_of(folder)
    timings = measure({path: open_path(path, part) for path in paths})

Paths are timed in turns, in the processor time of one thread, and the shortest of a few calls counts. So
other work on the machine changes the timings little. Only the first layers of a model are timed, because all
layers have the same shape. An engine has one thread per core, but one thread is enough for timing, because
two threads that ran at the same time changed no path's time by more than 5%.
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

#: Number of tokens of each input of the timed query (``QUERY``) and of the timed batch (``BATCH``). Matrix
#: products of 128 rows or more run at full speed.
QUERY, BATCH = (15,), (128, 64)
#: Number of tokens of the input that every path computes first. This small input shows in a short time which
#: paths would take seconds for a larger input.
PROBE = (2,)
#: Number of calls of each path with ``PROBE``, ``QUERY`` and ``BATCH``, after a first call that prepares
#: memory and kernels.
PROBES, QUERIES, BATCHES = 2, 5, 2
#: A path that takes more than this many times the time of the best path is not called again. ``HOPELESS`` is
#: for the batch, ``HOPELESS_PROBE`` for the probe and the query. A reference kernel takes thousands of times
#: as long.
HOPELESS_PROBE, HOPELESS = 20.0, 3.0
#: Minimum number of weights in the timed layers, if the model has so many weights. Three layers of MiniLM
#: have this number. The weights take 20 MB in float32, which is more than a core's own caches.
PART_WEIGHTS = 5_000_000

Milliseconds = dict[NumericPath, float]


def part_of(folder: ModelFolder) -> ModelFolder:
    """Return a description of the model that has only the timed layers.

    The description says mean pooling, so that the last layer computes all tokens.
    """
    family = family_of(folder.config)
    assert family is not None  # checked by ``forward.supports``
    hidden, inner, depth = (int(folder.config[key]) for key in (family.hidden, family.inner, family.depth))
    layers = min(depth, -(-PART_WEIGHTS // (4 * hidden * hidden + 2 * hidden * inner)))
    return replace(folder, config={**folder.config, family.depth: layers}, pooling="mean")


def measure(encoders: Mapping[NumericPath, Encoder]) -> Timings:
    """Time the encoders of one model on the same inputs, with one thread."""
    # OpenMP keeps its number of threads for each calling thread, so the new thread changes no other thread.
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
    """Call each path several times with the same inputs, and return the shortest time of each path."""
    draw = np.random.default_rng(0)
    # Every vocabulary has the ids below 1,000, so these random ids are valid in each model.
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
    """Estimate the time of each path for these inputs from the path's time for the probe."""
    return {path: ms * sum(lengths) / sum(PROBE) for path, ms in probed.items()}
