"""Record what a provider reports for each request: its tokens and their cost, once per answered request.

The id of the usage event is made from the id of our request. So an event that is written twice is counted
once. A request whose answer was lost is not recorded, although the provider may bill it.

    ledger = Ledger(pool, "small", price_per_million_tokens=0.02)
    ledger.record("acme", "req_1", tokens=5_000)
"""

import threading
from collections import deque
from decimal import Decimal

import structlog
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.errors import Retryable
from cluster.organisations.organisations import ensure_organisation
from cluster.organisations.usage import (
    PROVIDER_EMBEDDING,
    UsageEvent,
    UsageSource,
    event_id,
    record_usage,
)

log = structlog.get_logger(__name__)

MILLION = 1_000_000


class Ledger:
    """Writes usage events. If the database does not answer, the events are kept in memory and written with
    the next event.

    Args:
        pool: connections to the database.
        model: name under which the model is served.
        price_per_million_tokens: price in US dollars; None: not known.
    """

    def __init__(self, pool: ConnectionPool, model: str, *, price_per_million_tokens: float | None) -> None:
        self._pool = pool
        self._model = model
        self._price = None if price_per_million_tokens is None else Decimal(str(price_per_million_tokens))
        self._waiting: deque[UsageEvent] = deque()
        self._lock = threading.Lock()

    def record(self, organisation: str, request: str, *, tokens: int) -> None:
        """Write the event of one answered request.

        Args:
            organisation: the organisation that pays.
            request: id of our request.
            tokens: the tokens that the provider reports.
        """
        event = UsageEvent(
            organisation=organisation,
            id=event_id(PROVIDER_EMBEDDING, request),
            source=UsageSource.PROVIDER,
            model=self._model,
            quantity=tokens,
            kind=PROVIDER_EMBEDDING,
            cost=None if self._price is None else self._price * tokens / MILLION,
        )
        with self._lock:
            self._waiting.append(event)
            try:
                with translated(), self._pool.connection() as connection, connection.transaction():
                    for owner in {waiting.organisation for waiting in self._waiting}:
                        ensure_organisation(connection, owner)
                    record_usage(connection, self._waiting)
            except Retryable as exc:
                log.warning("provider_usage_not_written", events=len(self._waiting), reason=str(exc))
            else:
                self._waiting.clear()
