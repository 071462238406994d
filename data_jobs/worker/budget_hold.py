"""Hold the part of the organisation's budgets that a job may still use, while one attempt at the job runs.

    async with BudgetHold(attempt) as hold:
        hold.look_up(connection)                                # in a transaction that runs anyway
        await hold.reserve({(EMBEDDING, model): 1_200})         # raises BudgetExceeded
        ...
        record_usage(connection, events)
        hold.release(connection)                                # in the same transaction

A job of an organisation whose budgets refuse nothing makes no reservation. The hold renews the reservations
until the attempt ends. If the worker dies, the reservations expire, and the next attempt replaces those that
did not expire yet.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog
from psycopg import Connection

from cluster.budgets.reservations import (
    LEASE_S,
    RENEW_S,
    BatchHolder,
    KindOfWork,
    Work,
    has_stops,
    release,
    release_all,
    renew,
    reserve,
)
from cluster.errors import Retryable
from data_jobs.worker.job_attempt import DatabaseLost, JobAttempt

log = structlog.get_logger(__name__)


class BudgetHold:
    """The reservations of one attempt at a job."""

    def __init__(self, attempt: JobAttempt) -> None:
        self._attempt = attempt
        job = attempt.job
        self._owner = f"{job.id}/{job.attempt}"
        #: True if a budget of the organisation refuses work.
        self.needed = False
        self._renewing: asyncio.Task[None] | None = None

    def look_up(self, connection: Connection[Any]) -> None:
        """Find out if the organisation has budgets that refuse work."""
        self.needed = has_stops(connection, self._attempt.job.organisation)

    async def reserve(self, amounts: Mapping[KindOfWork, int]) -> None:
        """Reserve the maximum that the job still needs. A repeated call replaces the reservation.

        Raises:
            BudgetExceeded: a budget does not cover the work.
        """
        if not self.needed:
            return
        job = self._attempt.job
        work = Work(id=job.id, amounts=amounts, key=job.key)
        refused = await self._attempt.in_transaction(
            lambda connection: reserve(
                connection, job.organisation, [work], owner=self._owner, lease_s=LEASE_S
            )
        )
        if refused:
            raise refused[job.id]
        self._renew()

    def of_requests(self, numbers: list[int]) -> BatchHolder | None:
        """Return what a replica needs to reserve for requests of a batch; None if nothing has to be reserved.

        Args:
            numbers: numbers of the requests' lines.
        """
        if not self.needed:
            return None
        self._renew()
        job = self._attempt.job
        ids = tuple(_of_request(job.id, number) for number in numbers)
        return BatchHolder(owner=self._owner, key=job.key, ids=ids)

    def release(self, connection: Connection[Any]) -> None:
        """Return the reservation of the job, in the transaction that writes the usage of the job."""
        if self.needed:
            release(connection, self._attempt.job.organisation, [self._attempt.job.id])

    def release_requests(self, connection: Connection[Any], numbers: range) -> None:
        """Return the reservations of requests of a batch, in the transaction that writes their usage."""
        if self.needed:
            job = self._attempt.job
            release(connection, job.organisation, [_of_request(job.id, number) for number in numbers])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewing is None:
            return
        self._renewing.cancel()
        with suppress(asyncio.CancelledError):
            await self._renewing
        job = self._attempt.job
        try:
            await asyncio.shield(
                self._attempt.in_transaction(
                    lambda connection: release_all(connection, job.organisation, self._owner)
                )
            )
        except (DatabaseLost, Retryable) as exc:  # the reservations expire
            log.warning("reservations_not_returned", reason=str(exc))

    def _renew(self) -> None:
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_until_cancelled())

    async def _renew_until_cancelled(self) -> None:
        organisation = self._attempt.job.organisation
        while True:
            await asyncio.sleep(RENEW_S)
            with suppress(DatabaseLost, Retryable):  # the attempt itself finds out that the database is lost
                await self._attempt.in_transaction(
                    partial(renew, organisation=organisation, owner=self._owner, lease_s=LEASE_S)
                )


def _of_request(job: str, number: int) -> str:
    return f"{job}/{number}"
