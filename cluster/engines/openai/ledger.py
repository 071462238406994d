"""Record the tokens that a provider reports for each answered request, and the cost of these tokens.

The id of the usage event is made from the id of our request. So an event that is written twice is counted
only once. A request whose answer was lost is not recorded, although the provider may bill it.

    ledger = Ledger(pool, "small", price_per_million_tokens=0.02)
    ledger.record("acme", "req_1", tokens=5_000)
"""

import threading
from collections import deque
from decimal import Decimal

import structlog
from psycopg_pool import ConnectionPool

from cluster.database import on_behalf_of_the_cluster, translated
from cluster.engines.openai.known_models import BATCH_PRICE_FACTOR
from cluster.errors import Retryable
from cluster.organisations.organisations import ensure_organisation
from cluster.usage.events import (
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
        price_per_million_tokens: price in US dollars; None if the price is not known.
    """

    def __init__(self, pool: ConnectionPool, model: str, *, price_per_million_tokens: float | None) -> None:
        self._pool = pool
        self._model = model
        self._price = _exact(price_per_million_tokens)
        self._waiting: deque[UsageEvent] = deque()
        self._lock = threading.Lock()

    def record(self, organisation: str, request: str, *, tokens: int) -> None:
        """Write the event of one answered request, and the events that could not be written before.

        Args:
            organisation: the organisation that pays.
            request: id of our request.
            tokens: the tokens that the provider reports.
        """
        event = _event(organisation, request, model=self._model, tokens=tokens, price=self._price)
        with self._lock:
            self._waiting.append(event)
            try:
                # The waiting events may belong to several organisations.
                on_behalf_of_the_cluster(self._write)
            except Retryable as exc:
                log.warning("provider_usage_not_written", events=len(self._waiting), reason=str(exc))
            else:
                self._waiting.clear()

    def _write(self) -> None:
        with translated(), self._pool.connection() as connection, connection.transaction():
            for owner in {waiting.organisation for waiting in self._waiting}:
                ensure_organisation(connection, owner)
            record_usage(connection, self._waiting)


def batch_usage(
    organisation: str, batch: str, *, model: str, tokens: int, price_per_million_tokens: float | None
) -> UsageEvent:
    """Return the event of one batch of the provider's Batch API, which costs a part of the usual price.

    Args:
        organisation: the organisation that pays.
        batch: our id of the batch. Equal ids give the same event, so a batch is counted once.
        model: name under which the model is served.
        tokens: the tokens that the provider reports for all answers.
        price_per_million_tokens: the usual price in US dollars; None if the price is not known.
    """
    usual = _exact(price_per_million_tokens)
    price = None if usual is None else usual * BATCH_PRICE_FACTOR
    return _event(organisation, f"batch/{batch}", model=model, tokens=tokens, price=price)


def _exact(price: float | None) -> Decimal | None:
    return None if price is None else Decimal(str(price))


def _event(organisation: str, work: str, *, model: str, tokens: int, price: Decimal | None) -> UsageEvent:
    return UsageEvent(
        organisation=organisation,
        id=event_id(PROVIDER_EMBEDDING, work),
        source=UsageSource.PROVIDER,
        model=model,
        quantity=tokens,
        kind=PROVIDER_EMBEDDING,
        cost=None if price is None else price * tokens / MILLION,
    )
