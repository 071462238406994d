"""Keep rates, such as tokens a minute, that several replicas share.

A rate holds in every window of time, not only in each minute of the clock: what was admitted within the last
minute never exceeds the limit. The amounts are counted in Postgres. A replica does not ask Postgres for each
request. It takes a slice of the limit, admits requests from this slice in memory, and after a quarter of a
second it returns what it did not use. The slices become smaller as the limit is used up, so a small limit is
exact.

    rates = LeasedRates(lambda: connect(settings))
    tokens = rates.rate("acme/key_1/tokens", 100_000)
    await rates.take([(tokens, 1_200)])            # raises RateExceeded
    rates.remaining(tokens)

While Postgres does not answer, each replica keeps the limits alone, and reports its amounts afterwards.
docs/decisions/042-rates-and-quotas.md has the reasons and measurements. All methods are called on one event
loop.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from cluster.errors import ClusterError, Throttled
from cluster.rate_limits.leased_rate import LEASE_S, LeasedRate, SliceGrant, SliceRequest
from cluster.rate_limits.shared_rate import exchange

log = structlog.get_logger(__name__)

#: Length of the window in which a limit holds, in seconds.
WINDOW_S = 60.0
#: Maximum seconds that a request waits for Postgres. After this time, the replica keeps the limits alone.
ANSWER_TIMEOUT_S = 1.0
#: Seconds for which a replica keeps the limits alone before it asks Postgres again.
ALONE_S = 1.0
#: Maximum number of times that one request asks Postgres, because other requests took what it had asked for.
MAX_ROUNDS = 20


class RateExceeded(Throttled):
    """A rate has no room for a request.

    Args:
        rate: the rate.
        amount: the amount that the request needs.
        wait_s: seconds until there is room.
    """

    def __init__(self, rate: LeasedRate, amount: int, wait_s: float) -> None:
        super().__init__(
            f"{rate.name} has no room for {amount:,}; try again in {wait_s:.1f} s", retry_after_s=wait_s
        )
        self.rate = rate
        self.amount = amount


class LeasedRates:
    """The rates that one replica keeps together with other replicas.

    Args:
        connect: opens a connection to Postgres in autocommit mode. A thread of this object uses the
            connection.
        window_s: length of the window in which a limit holds, in seconds.
    """

    def __init__(self, connect: Callable[[], Connection[Any]], *, window_s: float = WINDOW_S) -> None:
        self._connect = connect
        self._window_s = window_s
        self._connection: Connection[Any] | None = None
        self._rates: dict[str, LeasedRate] = {}
        self._thread = ThreadPoolExecutor(1, "rates")
        #: The rates of the next exchange with Postgres.
        self._next: set[LeasedRate] = set()
        #: A future that is done after the next exchange; None if no request waits for it.
        self._next_done: asyncio.Future[None] | None = None
        #: Time at which the current exchange began; None: no exchange is running.
        self._began: float | None = None
        #: Time until which this replica keeps the limits alone.
        self._alone_until = float("-inf")
        self._closed = False

    def rate(self, name: str, limit: int) -> LeasedRate:
        """Return the rate with this name. A changed limit applies at once."""
        rate = self._rates.get(name)
        if rate is None:
            rate = self._rates[name] = LeasedRate(name, limit, self._window_s)
        rate.limit = limit
        return rate

    async def take(self, needs: Sequence[tuple[LeasedRate, int]]) -> None:
        """Take the amounts from all rates, or from none. An amount of 0 only brings the figures of the rate
        up to date, so that ``remaining`` is at most a second old.

        Raises:
            RateExceeded: a rate has no room for its amount.
        """
        for _ in range(MAX_ROUNDS):
            now = time.monotonic()
            lacking = [(rate, amount) for rate, amount in needs if not rate.holds(amount, now)]
            if lacking and self._is_alone(now):
                self._take_alone(needs, now)
                return
            if not lacking:
                for rate, amount in needs:
                    rate.use(amount, now)
                return
            for rate, amount in lacking:
                if (wait_s := rate.known_wait_s(amount, now)) is not None:
                    raise RateExceeded(rate, amount, wait_s)
            await self._ask(lacking)
        rate, amount = lacking[0]
        raise RateExceeded(rate, amount, LEASE_S)

    def remaining(self, rate: LeasedRate) -> tuple[int, float]:
        """Return the amount that the rate still allows, and the seconds until the whole limit is free."""
        return rate.remaining(time.monotonic())

    @property
    def alone(self) -> bool:
        """True while this replica keeps the rates alone, because Postgres does not answer."""
        return self._is_alone(time.monotonic())

    def close(self) -> None:
        """Return all slices, end the thread and close the connection."""
        self._closed = True
        self._thread.shutdown()
        if self._connection is not None:
            for rate in self._rates.values():
                rate.end_all_slices()
            now = time.monotonic()
            self._exchange([rate.ask(now) for _, rate in sorted(self._rates.items())])
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()

    def _is_alone(self, now: float) -> bool:
        return now < self._alone_until or (self._began is not None and now - self._began > ANSWER_TIMEOUT_S)

    def _take_alone(self, needs: Sequence[tuple[LeasedRate, int]], now: float) -> None:
        for rate, amount in needs:
            if (wait_s := rate.wait_alone_s(amount, now)) is not None:
                raise RateExceeded(rate, amount, wait_s)
        for rate, amount in needs:
            rate.use_alone(amount, now)

    async def _ask(self, needs: Sequence[tuple[LeasedRate, int]]) -> None:
        """Ask Postgres for the amounts in the next exchange, and wait for its end."""
        for rate, amount in needs:
            rate.wanted.append(amount)
            self._next.add(rate)
        if self._next_done is None:
            self._next_done = asyncio.get_running_loop().create_future()
        done = self._next_done
        self._begin_exchange()
        await asyncio.wait([done], timeout=ANSWER_TIMEOUT_S)

    def _begin_exchange(self) -> None:
        """Start the next exchange, unless one is running. Requests that ask during an exchange share the
        exchange after it.
        """
        if self._began is not None or not self._next:
            return
        rates, self._next = sorted(self._next, key=lambda rate: rate.name), set()
        done, self._next_done = self._next_done, None
        now = self._began = time.monotonic()
        asked = [rate.ask(now) for rate in rates]
        loop = asyncio.get_running_loop()
        exchanging = loop.run_in_executor(self._thread, self._exchange, asked)
        exchanging.add_done_callback(lambda answers: self._end_exchange(rates, asked, answers, done, now))

    def _end_exchange(
        self,
        rates: Sequence[LeasedRate],
        asked: Sequence[SliceRequest],
        answers: "asyncio.Future[dict[str, SliceGrant] | None]",
        done: "asyncio.Future[None] | None",
        began: float,
    ) -> None:
        self._began = None
        now = time.monotonic()
        error = answers.exception()
        if error is not None:  # a defect, because the thread handles the errors of Postgres
            log.error("rates_not_exchanged", exc_info=error)
        found = None if error is not None else answers.result()
        if found is None:
            self._alone_until = now + ALONE_S
            for rate in rates:
                rate.not_answered()
        else:
            self._alone_until = float("-inf")
            for rate, question in zip(rates, asked, strict=True):
                rate.answered(found[rate.name], question.id, began, now)
            # Unused parts of slices go back after a short time, because another replica may need them.
            asyncio.get_running_loop().call_later(LEASE_S, self._return, rates)
        if done is not None and not done.done():
            done.set_result(None)
        self._begin_exchange()

    def _return(self, rates: Sequence[LeasedRate]) -> None:
        now = time.monotonic()
        ended = [rate for rate in rates if rate.has_ended_slices(now)]
        if ended and not self._closed and not self._is_alone(now):
            self._next.update(ended)
            self._begin_exchange()

    def _exchange(self, asked: Sequence[SliceRequest]) -> dict[str, SliceGrant] | None:
        """Exchange the slices in the thread. Return None if Postgres does not answer."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
            return exchange(self._connection, asked, window_s=self._window_s)
        except (psycopg.Error, ClusterError) as exc:
            if time.monotonic() > self._alone_until + ALONE_S:
                log.warning("rates_kept_alone", reason=str(exc))
            if self._connection is not None:
                with suppress(psycopg.Error):
                    self._connection.close()
                self._connection = None
            return None
