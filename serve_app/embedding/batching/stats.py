"""The counters of a batcher. They are plain numbers, so counting is one addition, without a lock or a clock.

The batcher counts on its event loop, in one thread. ``metrics`` reads the numbers in another thread and
publishes them. It may read a number that is one batch old, which is accurate enough.

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
    #: Inputs whose vector was in the cache.
    cache_hits: int = 0
    #: Inputs whose vector was not in the cache.
    cache_misses: int = 0
    #: Inputs that shared the computation of an equal input in flight.
    joined_in_flight: int = 0
    #: Inputs that were not computed, because no caller waited for them any more.
    dropped_inputs: int = 0
    #: Requests refused on arrival, because the queue was full or the deadline could not be met.
    refused_requests: int = 0
    #: Accepted tokens, by organisation.
    organisation_tokens: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: Sum of the seconds that batches took in the engine. Divided by ``Engine.concurrency`` and by the
    #: elapsed time, it gives the busy share.
    busy_s: float = 0.0
