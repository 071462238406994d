"""Counters of a batcher. The counters are plain numbers, so counting is one addition, without a lock, a clock
or a library.

The batcher counts on its event loop, in one thread. ``metrics`` reads the numbers in another thread and
publishes them. A published number may be one batch old, which does no harm.

    stats = Stats()
    stats.batches += 1
"""

from collections import defaultdict
from dataclasses import dataclass, field, fields


def _metric(description: str) -> int:
    """Return a counter that ``metrics`` publishes under the field's name, with this description."""
    counter: int = field(default=0, metadata={"metric": description})
    return counter


@dataclass(slots=True)
class Stats:
    """Counters that only grow, except for ``waiting_tokens``."""

    #: Number of tokens in the queue now, by lane.
    waiting_tokens: dict[str, int] = field(default_factory=lambda: {"interactive": 0, "bulk": 0})
    batches: int = _metric("Batches handed to the model")
    batch_tokens: int = _metric("Tokens in the batches, special tokens included")
    batch_inputs: int = _metric("Inputs in the batches")
    #: Number of tokens that the model computed, padding included; equal to ``real_tokens`` if batches are
    #: packed.
    computed_tokens: int = 0
    #: Number of tokens of the computed inputs, without padding.
    real_tokens: int = 0
    truncated_inputs: int = _metric("Inputs that were cut because they were longer than the model reads")
    averaged_inputs: int = _metric("Inputs embedded in parts and averaged for the same reason")
    cache_hits: int = _metric("Inputs answered by the cache")
    cache_misses: int = _metric("Inputs that the cache did not have")
    joined_in_flight: int = _metric("Inputs that shared the computation of an equal input in flight")
    dropped_inputs: int = _metric("Inputs not computed because no caller waited for them any more")
    refused_requests: int = _metric(
        "Requests refused because of a full queue or a deadline that cannot be met"
    )
    #: Number of accepted tokens, by organisation.
    organisation_tokens: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: Seconds of work, summed over the batches. ``metrics`` divides the increase by ``Engine.concurrency``
    #: and by the elapsed time. The result is the share of time in which the engine was busy.
    busy_s: float = 0.0


#: Names and descriptions of the counters that ``metrics`` publishes.
COUNTERS = {one.name: one.metadata["metric"] for one in fields(Stats) if "metric" in one.metadata}
