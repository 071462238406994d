"""Limits the calls of the whole cluster to a remote provider, by a shared budget and a shared breaker. Limits
the requests of callers, too, by leased rates (``leased_rates``).

Engines and vector indexes that call a provider use the budget and the breaker, and the endpoint uses the
rates. The state is in Postgres, so the limits hold for all replicas, workers and bulk jobs together.

    breaker = SharedBreaker(pool, "openai:small")
    budget = SharedBudget(pool, "openai:small", {"requests": (3_000, 60), "tokens": (1_000_000, 60)})
"""

from cluster.rate_limits.breaker import (
    BreakerState,
    ProviderLoad,
    SharedBreaker,
    breaker_states,
    provider_load,
)
from cluster.rate_limits.budget import Grant, SharedBudget

__all__ = [
    "BreakerState",
    "Grant",
    "ProviderLoad",
    "SharedBreaker",
    "SharedBudget",
    "breaker_states",
    "provider_load",
]
