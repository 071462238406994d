"""Contexts of agents' frequent questions: the sources of a question, found before the question is asked.

The job ``precompute_contexts`` saves contexts, and answers of agents use them through ``ContextLookup``.
``docs/answers.md`` describes when a context is used.

    lookup = ContextLookup(service.in_database, similarity=0.97)
    await retrieve("acme", stores, [question], options, ..., prepared=lookup)
"""

from cluster.precomputed.contexts import ContextChunk, PrecomputedContext
from cluster.precomputed.lookup import ContextLookup

__all__ = ["ContextChunk", "ContextLookup", "PrecomputedContext"]
