"""Reserve a part of the budgets before work begins, so that concurrent work never exceeds a budget.

The endpoint (``serve_app.embedding.budget_gate``), the jobs and the bulk ingest call this module. The
usage events of the work replace its reservation, because ``release`` is called in the transaction that writes
the events, and a trigger charges the budgets of these events (migration 0026). A process renews its
reservations while it works. After a crash of the process, its reservations expire and no longer count.

    work = Work(id=request, amounts={(EMBEDDING, model): 1_200}, key=caller_key)
    refusals = reserve(connection, "acme", [work], owner=process, lease_s=30)  # {}, or an error by id
    ...
    record_usage(connection, events)
    release(connection, "acme", [work.id])
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg import Connection

from cluster.budgets.budgets import SQL as STATE_SQL
from cluster.budgets.budgets import Budget, Unit, budgets_of
from cluster.budgets.notices import add_charges, record_stop
from cluster.database.queries import queries
from cluster.errors import BudgetExceeded
from cluster.usage.events import UNITS

SQL = queries("cluster.budgets", "reservations.sql")
#: Seconds after which the reservations of a process expire, and seconds between two renewals.
LEASE_S, RENEW_S = 30.0, 10.0
#: Seconds after which a refused caller may ask again, if work in progress can free enough of what
#: it has reserved.
RETRY_AFTER_WORK_S = 5.0
#: A kind of usage, and the model that does the work.
KindOfWork = tuple[str, str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A piece of work that needs a reservation."""

    #: Id of the reservation, unique in the organisation.
    id: str
    #: Maximum amount of each kind of usage that the work needs, in the unit of the kind.
    amounts: Mapping[KindOfWork, int]
    #: Id of the API key that asked for the work; None if no key did.
    key: str | None = None
    #: Id of the platform's agent for which the work is done; None if it is done for no agent.
    agent: str | None = None


class HeldReservation(NamedTuple):
    """A reservation that a process has made."""

    organisation: str
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchHolder:
    """Says how a replica makes reservations for requests that a worker sends. The worker renews and releases
    the reservations.
    """

    #: Id under which the worker renews the reservations.
    owner: str
    #: Id of the API key that asked for the requests; None if no key did.
    key: str | None
    #: Id of the reservation of each request.
    ids: tuple[str, ...]


@dataclass(slots=True)
class _Room:
    """A budget, and the amount that is reserved in it while several reservations are made."""

    budget: Budget
    reserved: Decimal
    refused: bool = field(default=False)


def has_stops(connection: Connection[Any], organisation: str) -> bool:
    """Return True if a budget of the organisation has ``stop_at``. If no budget has it, the organisation's
    work needs no reservations.
    """
    return connection.execute(SQL["has_stops"], {"organisation": organisation}).fetchone() == (True,)


def reserve(
    connection: Connection[Any], organisation: str, works: Sequence[Work], *, owner: str, lease_s: float
) -> dict[str, BudgetExceeded]:
    """Reserve each piece of work in all budgets that it concerns, or in none, in the caller's transaction.

    Until the transaction ends, other processes wait before they reserve for the organisation, so commit soon.
    A repeated call with the same ids replaces the reservations.

    Args:
        works: the work that is about to begin; earlier pieces come first if not all fit.
        owner: id of the process or the job that will renew the reservations.
        lease_s: seconds after which the reservations expire, unless they are renewed.

    Returns:
        For each refused piece of work, by id, the error that names the budget. The caller must commit before
        it raises the error, because the transaction also records the refusal.
    """
    values = {"organisation": organisation}
    with connection.pipeline():  # one round trip instead of four
        connection.execute(SQL["lock"], values)
        connection.execute(SQL["release"], {**values, "ids": [work.id for work in works]})
        connection.execute(STATE_SQL["open_periods"], values)
        budgets = budgets_of(connection, organisation)
    rooms = [
        _Room(budget=budget, reserved=budget.reserved)
        for budget in add_charges(connection, organisation, budgets)
        if budget.stop_at is not None
    ]
    prices = _prices(connection, organisation, works, rooms)
    rows: list[dict[str, Any]] = []
    refusals: dict[str, BudgetExceeded] = {}
    for work in works:
        needed = [
            (room, amount)
            for room in rooms
            if room.budget.concerns(key=work.key, agent=work.agent)
            and (amount := _amount(room.budget, work, prices)) > 0
        ]
        refusing = [part for part in needed if not _fits(*part)]
        if refusing:
            refusals[work.id] = _refusal(refusing)
            continue
        for room, amount in needed:
            room.reserved += amount
            rows.append({**values, "budget": room.budget.id, "id": work.id, "amount": amount})
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(SQL["reserve"], [{**row, "owner": owner, "lease_s": lease_s} for row in rows])
    record_stop(connection, organisation, [room.budget for room in rooms if room.refused])
    return refusals


def renew(connection: Connection[Any], organisation: str, owner: str, *, lease_s: float) -> None:
    """Renew the reservations of the owner. A reservation that has expired stays expired, because other work
    may have reserved its amount.
    """
    connection.execute(SQL["renew"], {"organisation": organisation, "owner": owner, "lease_s": lease_s})


def release(connection: Connection[Any], organisation: str, ids: Collection[str]) -> None:
    """Delete the reservations, so that they no longer count in the budgets. Call this in the transaction that
    writes the usage events of the work, or after work that failed.
    """
    if ids:
        connection.execute(SQL["release"], {"organisation": organisation, "ids": list(ids)})


def release_held(connection: Connection[Any], held: Iterable[HeldReservation]) -> None:
    """Delete reservations of any organisations, as ``release`` does."""
    by_organisation: dict[str, list[str]] = {}
    for one in held:
        by_organisation.setdefault(one.organisation, []).append(one.id)
    for organisation in sorted(by_organisation):
        release(connection, organisation, by_organisation[organisation])


def release_all(connection: Connection[Any], organisation: str, owner: str) -> None:
    """Delete all reservations of the owner, so that they no longer count in the budgets."""
    connection.execute(SQL["release_all"], {"organisation": organisation, "owner": owner})


def _fits(room: _Room, amount: Decimal) -> bool:
    budget = room.budget
    assert budget.stop_at is not None
    if budget.used + room.reserved + amount <= budget.stop_at:
        return True
    room.refused = True
    return False


def _amount(budget: Budget, work: Work, prices: Mapping[KindOfWork, Decimal]) -> Decimal:
    if budget.unit is Unit.USD:
        return sum((quantity * prices[kind] for kind, quantity in work.amounts.items()), Decimal(0))
    return Decimal(sum(quantity for (kind, _), quantity in work.amounts.items() if UNITS[kind] == "tokens"))


def _prices(
    connection: Connection[Any], organisation: str, works: Sequence[Work], rooms: Sequence[_Room]
) -> dict[KindOfWork, Decimal]:
    """Return the price of a unit of each kind of work in US dollars; 0 for work without a price. The
    result is empty if no budget counts US dollars.
    """
    if not any(room.budget.unit is Unit.USD for room in rooms):
        return {}
    kinds = sorted({kind for work in works for kind in work.amounts}, key=str)
    values = {
        "organisation": organisation,
        "kinds": [kind for kind, _ in kinds],
        "models": [model for _, model in kinds],
    }
    found = connection.execute(SQL["prices"], values).fetchall()
    return {(kind, model): price for kind, model, price in found}


def _refusal(refusing: Sequence[tuple[_Room, Decimal]]) -> BudgetExceeded:
    """Return the error of a refused piece of work. Of the budgets that refuse it, the error names the budget
    that renews last.
    """
    room, amount = max(refusing, key=lambda part: part[0].budget.ends_at)
    budget = room.budget
    assert budget.stop_at is not None
    named = f" ({budget.name})" if budget.name else ""
    of = " of this API key" if budget.key else " of this agent" if budget.agent else ""
    reserved = f", and work in progress has reserved {budget.shown(room.reserved)}" if room.reserved else ""
    renews_in_s = (budget.ends_at - datetime.now(UTC)).total_seconds()
    waits_for_work = all(part.budget.used + needed <= (part.budget.stop_at or 0) for part, needed in refusing)
    return BudgetExceeded(
        f"the budget {budget.id}{named}{of} allows {budget.shown(budget.stop_at)} a {budget.period}; "
        f"{budget.shown(budget.used)} are used{reserved}, and this work needs {budget.shown(amount)}. The "
        f"budget renews at {budget.renews}; wait until then, or ask for a higher budget",
        budget=budget.id,
        renews_at=budget.ends_at,
        retry_after_s=max(1.0, RETRY_AFTER_WORK_S if waits_for_work else renews_in_s),
    )
