"""Counters of a batcher as plain numbers: counting is one addition, without a lock, a clock or a library.

The batcher counts on its event loop, in one thread. ``metrics`` reads the numbers from another thread and
publishes them; a number that is one batch old does no harm.

    stats = Stats()
    stats.batches += 1
"""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """Counters that only grow, except for ``waiting_tokens``."""

    #: Tokens in the queue now, by lane.
    waiting_tokens: dict[str, int] = field(default_factory=lambda: {"interactive": 0, "bulk": 0})
    #: Batches handed to the engine.
    batches: int = 0
    #: Tokens in these batches, special tokens included.
    batch_tokens: int = 0
    #: Inputs in these batches.
    batch_inputs: int = 0
    #: Tokens that the model computed, padding included; equal to ``real_tokens`` if batches are packed.
    computed_tokens: int = 0
    #: Tokens of the computed inputs, without padding.
    real_tokens: int = 0
    #: Inputs that were too long, and were cut.
    truncated_inputs: int = 0
    #: Inputs that were too long, and were embedded in parts and averaged.
    averaged_inputs: int = 0
    #: Inputs answered by the cache.
    cache_hits: int = 0
    #: Inputs that the cache did not have.
    cache_misses: int = 0
    #: Inputs that shared the computation of an equal input in flight.
    joined_in_flight: int = 0
    #: Inputs that were not computed, because no caller waited for them any more.
    dropped_inputs: int = 0
    #: Requests refused on arrival: the queue was full, or the deadline could not be met.
    refused_requests: int = 0
    #: Tokens accepted, by organisation.
    organisation_tokens: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: Seconds of work, summed over the engine's threads. Divided by ``Engine.concurrency`` and by the elapsed
    #: time, it is the busy share.
    busy_s: float = 0.0
