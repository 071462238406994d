"""Stops the whole cluster from calling a provider that does not answer.

After repeated failures, the breaker opens: every process refuses its calls immediately, and no call waits
until its time limit. After a pause, one call of the whole cluster probes the provider. If the probe succeeds,
the breaker closes. If the probe fails, the next pause is twice as long.

    breaker = SharedBreaker(pool, "openai:small")
    with breaker.attempt():                     # raises ProviderUnavailable while the breaker is open
        answer = client.embeddings.create(...)

Put only the call to the provider into the ``with`` block. The name of a breaker must not contain the name of
an organisation, because ``/readyz`` shows the names of breakers to everybody.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import structlog
from psycopg import Connection
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.queries import queries
from cluster.errors import Permanent, ProviderUnavailable, Retryable, Throttled

log = structlog.get_logger(__name__)

SQL = queries("cluster.rate_limits", "breaker.sql")
#: Number of failures, without a success between them, after which a breaker opens.
THRESHOLD = 8
#: The breaker opens only if these failures happen within this many seconds.
WINDOW_S = 60.0
#: Length of the first pause and of the longest pause, in seconds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
#: If a probe has not ended after this many seconds, its process counts as lost. This has to be longer than a
#: call takes.
PROBE_S = 120.0
#: Seconds for which a process remembers that a breaker is closed.
REMEMBERED_S = 1.0
#: Minimum of ``retry_after_s`` in the error of a refused call, in seconds.
SHORTEST_RETRY_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerState:
    """The state of one breaker, for people."""

    name: str
    #: True if calls are refused.
    open: bool
    #: Time from which a probe may be sent; None if the breaker is closed.
    retry_at: datetime | None
    #: True while a probe is in flight.
    probing: bool

    @property
    def sentence(self) -> str:
        """The state as a sentence."""
        if not self.open:
            return f"{self.name} answers"
        if self.probing or self.retry_at is None:
            return f"{self.name} does not answer; a call that tests it is in flight"
        at = self.retry_at.isoformat(timespec="seconds")
        return f"{self.name} does not answer; the next call is sent at {at}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderLoad:
    """Counts the unavailable providers and the waiting calls of the whole cluster."""

    #: Number of providers with an open breaker, which no process calls now.
    unavailable: int = 0
    #: Number of calls that wait for room in a budget.
    waiting_calls: int = 0


def provider_load(connection: Connection[Any]) -> ProviderLoad:
    """Count the providers with an open breaker, and the calls that wait for room in a budget."""
    (waiting_calls,) = connection.execute(SQL["waiting"]).fetchone() or (0,)
    unavailable = sum(state.open for state in breaker_states(connection))
    return ProviderLoad(unavailable=unavailable, waiting_calls=waiting_calls)


def breaker_states(connection: Connection[Any]) -> list[BreakerState]:
    """Return the state of every breaker that has counted a failure, ordered by name. A breaker is left out if
    its provider was not called in the hour after a probe was allowed.
    """
    with connection.cursor(row_factory=class_row(BreakerState)) as cursor:
        return cursor.execute(SQL["all"]).fetchall()


class SharedBreaker:
    """The breaker of one provider. All processes that use the same name share its state.

    A breaker is safe to use from several threads.

    Args:
        pool: connections to the database.
        name: names the provider, without an organisation.
        threshold: number of failures, without a success between them, after which the breaker opens.
        window_s: seconds within which these failures have to happen.
        first_pause_s: seconds of the first pause.
        longest_pause_s: seconds of the longest pause.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        name: str,
        *,
        threshold: int = THRESHOLD,
        window_s: float = WINDOW_S,
        first_pause_s: float = FIRST_PAUSE_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        self.name = name
        self._pool = pool
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._common = {
            "name": name,
            "threshold": threshold,
            "window_s": window_s,
            "longest_pause_s": longest_pause_s,
            "probe_s": PROBE_S,
        }
        #: Until this time (``time.monotonic``), the breaker counts as closed, and the database is not asked.
        self._closed_until = 0.0
        #: True if the breaker had counted failures when this process looked last.
        self._has_failures = False

    def attempt(self) -> "BreakerAttempt":
        """Return a context manager for one call. Use it with ``with`` or, in a coroutine, with ``async
        with``.

        A ``Retryable`` error of the block counts as a failure. ``Throttled`` and ``Permanent`` errors do not
        count as failures, because the provider has answered.

        Raises:
            ProviderUnavailable: at the beginning of the block, if the breaker is open; ``retry_after_s`` says
                when a probe may be sent.
        """
        return BreakerAttempt(self)

    def _enter(self) -> str | None:
        """Return the id of the probe if this call is a probe, and None if the breaker is closed. Raise
        ``ProviderUnavailable`` if the breaker is open and this call is no probe.
        """
        if time.monotonic() < self._closed_until:
            return None
        probe = uuid4().hex
        with translated(), self._pool.connection() as connection:
            row = connection.execute(SQL["state"], self._common).fetchone()
            open_, failures, wait_s = row or (False, 0, None)
            if open_ and connection.execute(SQL["probe"], {**self._common, "probe": probe}).fetchone():
                return probe
        self._has_failures = failures > 0
        if open_:
            raise ProviderUnavailable(
                f"{self.name} did not answer several times, so no call is sent for now",
                retry_after_s=max(wait_s or 0.0, SHORTEST_RETRY_S),
            )
        self._closed_until = time.monotonic() + REMEMBERED_S
        return None

    def _leave(self, probe: str | None, error: BaseException | None) -> None:
        failed = isinstance(error, Retryable) and not isinstance(error, Throttled)
        answered = error is None or isinstance(error, Permanent)
        if failed:
            self._closed_until, self._has_failures = 0.0, True
            names = ["ensure", "failed"] if probe is None else ["probe_failed"]
        elif probe is not None:
            names = ["probe_succeeded" if answered else "probe_undecided"]
        elif answered and self._has_failures:
            self._has_failures = False
            names = ["succeeded"]
        else:
            return
        asked_s = error.retry_after_s if isinstance(error, Retryable) else None
        pause_s = min(max(self._first_pause_s, asked_s or 0.0), self._longest_pause_s)
        try:
            with translated(), self._pool.connection() as connection:
                for name in names:
                    connection.execute(SQL[name], {**self._common, "probe": probe, "pause_s": pause_s})
        except Retryable as exc:  # not raised, because the caller must get the provider's answer or error
            self._has_failures = True  # makes the breaker record the next answer
            log.warning("breaker_not_recorded", breaker=self.name, reason=str(exc))


class BreakerAttempt:
    """One call to the provider; see ``SharedBreaker.attempt``."""

    def __init__(self, breaker: SharedBreaker) -> None:
        self._breaker = breaker
        self._probe: str | None = None

    def __enter__(self) -> Self:
        self._probe = self._breaker._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._breaker._leave(self._probe, error)

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.__exit__, kind, error, trace))
