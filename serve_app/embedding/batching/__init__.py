"""The batcher admits requests, groups their inputs into batches, and computes equal inputs once.

batcher = Batcher(engine, batch_tokens=2048, max_waiting_tokens=1_000_000)
vectors = await batcher.embed(ids, lane="interactive", organisation="acme")
"""

from serve_app.embedding.batching.batcher import Batcher
from serve_app.embedding.batching.fair_queue import Lane
from serve_app.embedding.batching.stats import Stats

__all__ = ["Batcher", "Lane", "Stats"]
