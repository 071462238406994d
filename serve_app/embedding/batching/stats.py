"""What a batcher has done since it was made, as plain numbers: an addition each, no lock, no clock, no library.

The batcher counts on its event loop, in one thread; ``metrics`` reads from another and publishes, where a number that is
one batch old does no harm.

    stats = Stats()
    stats.batches += 1
"""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """Counters that only grow, except ``waiting_tokens``, which is what waits now."""

    #: Tokens in the queue now, by lane.
    waiting_tokens: dict[str, int] = field(default_factory=lambda: {"interactive": 0, "bulk": 0})
    #: Batches the engine was given.
    batches: int = 0
    #: Tokens in them, special tokens included.
    batch_tokens: int = 0
    #: Inputs in them.
    batch_inputs: int = 0
    #: Tokens the model computed, padding included: equal to ``real_tokens`` where batches are packed.
    computed_tokens: int = 0
    #: Tokens of the inputs it computed.
    real_tokens: int = 0
    #: Inputs that were cut because they were longer than the model reads.
    truncated_inputs: int = 0
    #: Inputs embedded in parts and averaged for the same reason.
    averaged_inputs: int = 0
    #: Inputs answered from the cache.
    cache_hits: int = 0
    #: Inputs looked up in the cache and not found.
    cache_misses: int = 0
    #: Inputs that shared the computation of an equal input already in flight.
    joined_in_flight: int = 0
    #: Inputs never computed, because nobody waited for them any more.
    dropped_inputs: int = 0
    #: Requests refused at the door: the queue is full, or the deadline cannot be met.
    refused_requests: int = 0
    #: Tokens accepted, by organisation.
    organisation_tokens: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: Seconds of work, summed over the engine's threads: this over ``Engine.concurrency`` times the time passed is the busy share.
    busy_s: float = 0.0
