"""The gate that refuses work which a budget of the organisation does not cover (``admission``).

Work reserves the maximum that it needs before it begins. Requests that arrive at the same time share one
transaction. The recorder of usage returns the reservations in the transaction that writes the usage of the
request, so no other request can use their amounts in between. A replica knows from memory which organisations
have budgets that refuse work; the work of all others passes without a query.

    gate = BudgetGate(service.in_transaction, service.keys.has_stops, service.usage.settle)
    admission = Admission([gate])
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

from cluster.budgets.reservations import (
    LEASE_S,
    RENEW_S,
    BatchHolder,
    HeldReservation,
    KindOfWork,
    Work,
    release,
    renew,
    reserve,
)
from cluster.database import for_organisation
from cluster.errors import BudgetExceeded, Retryable
from cluster.organisations.caller import Caller, CallerKind
from cluster.usage.events import CHAT_OUTPUT, EMBEDDING, REQUEST
from serve_app.embedding.admission import REQUEST as WHOLE_REQUEST
from serve_app.embedding.admission import CostlyWork, Ticket

#: Maximum number of pieces of work that one transaction reserves.
WORKS_AT_ONCE = 64


class InTransaction(Protocol):
    """Runs work in one transaction of the database, in a thread."""

    def __call__(self, work: Callable[[Any], Any], /) -> Awaitable[Any]:
        """Return the result of the work."""


class Settle(Protocol):
    """Returns a reservation to the budgets, in the transaction that writes the usage of the request."""

    def __call__(self, held: HeldReservation, *, used: bool) -> None:
        """Return the reservation later. ``used`` is False if the work failed, so it has no usage."""


class _Waiting:
    """Work that waits for its reservation."""

    def __init__(self, work: Work, owner: str) -> None:
        self.work, self.owner = work, owner
        self.answer: asyncio.Future[BudgetExceeded | None] = asyncio.get_running_loop().create_future()


class BudgetGate:
    """Reserves for the work of one replica. The methods are called on the event loop.

    Args:
        in_transaction: runs a function in one transaction.
        has_stops: returns True if an organisation has a budget that refuses work. Every request calls this,
            so it has to answer from memory.
        settle: returns a reservation with the usage of its work.
    """

    def __init__(
        self, in_transaction: InTransaction, has_stops: Callable[[str], bool], settle: Settle
    ) -> None:
        self._in_transaction, self._has_stops, self._settle = in_transaction, has_stops, settle
        #: Id under which this replica renews its reservations.
        self._owner = f"replica-{uuid4().hex}"
        self._waiting: defaultdict[str, list[_Waiting]] = defaultdict(list)
        #: The tasks that reserve, by organisation, and the task that renews.
        self._reserving: dict[str, asyncio.Task[None]] = {}
        self._renewing: asyncio.Task[None] | None = None
        #: Reservations that are not returned yet.
        self._held: set[HeldReservation] = set()
        #: Number of pieces of work that were refused.
        self.refused = 0

    def concerns(self, caller: Caller) -> bool:
        """Return True if the organisation of the caller has a budget that refuses work."""
        return self._has_stops(caller.organisation)

    async def admit(self, work: CostlyWork) -> Ticket | None:
        """Reserve the work in the budgets that it concerns. Only the work of models is reserved, and the
        request is reserved with it.

        Raises:
            BudgetExceeded: a budget does not cover the work.
            Unavailable: the database does not answer.
        """
        if work.kind == WHOLE_REQUEST:
            return None
        key = work.caller.id if work.caller.kind is CallerKind.KEY else None
        amounts = {(work.kind, work.model): work.tokens, (REQUEST, work.model): 1}
        if work.output_tokens:
            amounts[CHAT_OUTPUT, work.model] = work.output_tokens
        held = HeldReservation(work.organisation, uuid4().hex)
        reserved = Work(id=held.id, amounts=amounts, key=key, agent=work.agent)
        await self._reserve(held.organisation, reserved, self._owner)
        self._held.add(held)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
        return _BudgetTicket(held, self._settle)

    async def reserve_request(
        self, organisation: str, holder: BatchHolder, id: str, model: str, tokens: int
    ) -> None:
        """Reserve for a request of a batch. The worker that sent the request renews and returns this.

        Raises:
            BudgetExceeded: a budget does not cover the request.
            Unavailable: the database does not answer.
        """
        amounts: dict[KindOfWork, int] = {(EMBEDDING, model): tokens, (REQUEST, model): 1}
        await self._reserve(organisation, Work(id=id, amounts=amounts, key=holder.key), holder.owner)

    def returned(self, held: Collection[HeldReservation]) -> None:
        """Stop renewing these reservations, because they were returned."""
        self._held.difference_update(held)

    async def _reserve(self, organisation: str, work: Work, owner: str) -> None:
        waiting = _Waiting(work, owner)
        self._waiting[organisation].append(waiting)
        if organisation not in self._reserving:
            self._reserving[organisation] = asyncio.create_task(self._reserve_waiting(organisation))
        refused = await waiting.answer
        if refused is not None:
            self.refused += 1
            raise refused

    async def _reserve_waiting(self, organisation: str) -> None:
        """Reserve for all work of the organisation that waits, until nothing waits."""
        waiting = self._waiting[organisation]
        try:
            while waiting:
                owner = waiting[0].owner
                some = [one for one in waiting[:WORKS_AT_ONCE] if one.owner == owner]
                waiting[:] = [one for one in waiting if one not in some]
                with for_organisation(organisation):  # a request of a batch comes without an access
                    await self._answer(organisation, owner, some)
        finally:
            del self._reserving[organisation]

    async def _answer(self, organisation: str, owner: str, some: Sequence[_Waiting]) -> None:
        works = [one.work for one in some]
        call = partial(reserve, organisation=organisation, works=works, owner=owner, lease_s=LEASE_S)
        try:
            refusals = await self._in_transaction(call)
        except Exception as exc:  # noqa: BLE001  each waiting request raises the error, and logs or answers it
            for one in some:
                if not one.answer.done():
                    one.answer.set_exception(exc)
            return
        left = [one.work.id for one in some if one.answer.done()]  # their requests were cancelled
        for one in some:
            if not one.answer.done():
                one.answer.set_result(refusals.get(one.work.id))
        if left:
            with suppress(Retryable):  # otherwise the reservations expire
                await self._in_transaction(partial(release, organisation=organisation, ids=left))

    async def _renew(self) -> None:
        """Renew the reservations of this replica until all are returned."""
        while self._held:
            await asyncio.sleep(RENEW_S)
            for organisation in {held.organisation for held in self._held.copy()}:
                call = partial(renew, organisation=organisation, owner=self._owner, lease_s=LEASE_S)
                # The task has the access of the request that started it, maybe of another organisation.
                with for_organisation(organisation), suppress(Retryable):  # the next renewal may come in time
                    await self._in_transaction(call)


class _BudgetTicket:
    """Returns the reservation of work that was admitted."""

    def __init__(self, held: HeldReservation, settle: Settle) -> None:
        self._held, self._settle = held, settle

    def end(self, *, tokens: int | None) -> None:
        """Return the reservation, with the usage of the work unless the work failed."""
        self._settle(self._held, used=tokens is not None)
