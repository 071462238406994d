"""Create, list, change and delete the budgets of organisations, and report how much of each budget is used.

``python -m cluster.budgets`` and the routes ``/v1/budgets`` call this module. Each change writes an event
into the audit log in the same transaction. ``reservations`` refuses work that a budget does not cover.

    new = NewBudget(unit=Unit.TOKENS, period=Period.DAY, stop_at=Decimal(1_000_000))
    budget = create_budget(connection, "acme", new)
    budget.used, budget.reserved, budget.ends_at
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.paging import FIRST_PAGE, ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import Conflict, InvalidInput, NotFound, NotPermitted
from cluster.keys.api_keys import get_key
from cluster.organisations.audit import record
from cluster.organisations.caller import current_caller
from cluster.organisations.organisations import lock_organisation

#: Maximum number of budgets of an organisation.
MAX_BUDGETS = 100
MAX_NAME_CHARACTERS = 128
#: Maximum number of characters of the id of an agent.
MAX_AGENT_CHARACTERS = 256
#: Upper bound of an amount, and maximum number of decimal places of an amount in US dollars.
MAX_AMOUNT, MAX_DECIMALS = Decimal(10**15), 12


class Unit(StrEnum):
    """The unit in which a budget counts."""

    #: Tokens that models read.
    TOKENS = "tokens"
    #: US dollars, computed from the prices of the work.
    USD = "usd"


class Period(StrEnum):
    """The time after which a budget begins again, in the organisation's time zone."""

    DAY = "day"
    #: A week that begins on Monday.
    WEEK = "week"
    #: A month that begins on the organisation's billing day.
    MONTH = "month"


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetLimits:
    """The properties of a budget that can be changed. ``warn_at``, ``stop_at`` or both are set."""

    #: Name for people.
    name: str = ""
    #: Used amount at which the organisation is warned, once in each period; None: no warning.
    warn_at: Decimal | None = None
    #: Amount that is never exceeded, because work beyond it is refused; None: no work is refused.
    stop_at: Decimal | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewBudget(BudgetLimits):
    """The properties that a caller chooses for a new budget."""

    unit: Unit
    period: Period
    #: Id of the API key whose work counts; None: the work of every caller counts.
    key: str | None = None
    #: Id of the platform's agent whose work counts; None: all work counts.
    agent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget(NewBudget):
    """A budget as it is stored, and its current period."""

    organisation: str
    id: str
    #: True if only the operator may change or delete the budget, because the operator created it.
    by_operator: bool
    created_at: datetime
    updated_at: datetime
    #: The first instant of the current period.
    starts_at: datetime
    #: The first instant after the current period, when the budget renews.
    ends_at: datetime
    #: Amount of all usage events of the current period that the budget counts.
    used: Decimal
    #: Amount that work in progress has reserved.
    reserved: Decimal
    #: When the warning of the current period was sent; None: it was not sent.
    warned_at: datetime | None
    #: When the budget first refused work in the current period; None: it refused nothing.
    stopped_at: datetime | None
    #: IANA name of the organisation's time zone.
    time_zone: str

    @property
    def renews(self) -> str:
        """The time at which the budget renews, as people of the organisation read it."""
        return f"{self.ends_at.astimezone(ZoneInfo(self.time_zone)):%Y-%m-%d %H:%M} ({self.time_zone})"

    def concerns(self, *, key: str | None, agent: str | None) -> bool:
        """Return True if the budget counts the work of this key and this agent."""
        return self.key in (None, key) and self.agent in (None, agent)

    def shown(self, amount: Decimal) -> str:
        """Return the amount with the budget's unit, for people."""
        plain = f"{amount.normalize():,f}"
        return f"${plain}" if self.unit is Unit.USD else f"{plain} tokens"


LIMITS = tuple(field.name for field in fields(BudgetLimits))
SQL = queries("cluster.budgets", "budgets.sql")
LISTS = ListStatements(
    newest=SQL["newest"].replace("{state}", SQL["state"]),
    oldest=SQL["oldest"].replace("{state}", SQL["state"]),
    places=SQL["places"],
)


def create_budget(connection: Connection[Any], organisation: str, new: NewBudget) -> Budget:
    """Create a budget in the caller's transaction. Earlier usage in the current period counts, too.

    Raises:
        InvalidInput: a property is outside its limits, or the organisation has no such key.
        NotFound: there is no such organisation.
        Conflict: the organisation has the maximum number of budgets, or is deleted.
    """
    _check(new)
    lock_organisation(connection, organisation)
    if new.key is not None:
        _check_key(connection, organisation, new.key)
    values = {"organisation": organisation}
    count = connection.execute(SQL["count"], values).fetchone()
    if count is not None and count[0] >= MAX_BUDGETS:
        raise Conflict(
            f"organisation {organisation} has {count[0]} budgets, and at most {MAX_BUDGETS} are allowed; "
            "delete one that is no longer used"
        )
    # Transactions that write usage events hold this lock. Wait for them, so that no event misses the budget.
    connection.execute(SQL["wait_for_usage"], values)
    id = f"bud_{secrets.token_hex(12)}"
    connection.execute(
        SQL["insert"], {**asdict(new), **values, "id": id, "by_operator": current_caller().operates}
    )
    connection.execute(SQL["open_periods"], values)
    record(connection, organisation, "budget.created", target=id, details=_details(new))
    return get_budget(connection, organisation, id)


def get_budget(connection: Connection[Any], organisation: str, id: str) -> Budget:
    """Return the budget with the state of its current period.

    Raises:
        NotFound: the organisation has no such budget.
    """
    for budget in budgets_of(connection, organisation):
        if budget.id == id:
            return budget
    raise NotFound(f"no budget {id!r}")


def list_budgets(
    connection: Connection[Any], organisation: str, page: PageRequest = FIRST_PAGE
) -> ListPage[Budget]:
    """Return a page of the organisation's budgets.

    Raises:
        InvalidInput: the cursor is not a budget of the organisation.
    """
    found = read_page(connection, LISTS, {"organisation": organisation}, page)
    return ListPage(items=[_budget(row) for row in found.items], has_more=found.has_more)


def budgets_of(connection: Connection[Any], organisation: str) -> list[Budget]:
    """Return all budgets of the organisation in order of their ids, each with the state of its current
    period.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_budget(row) for row in cursor.execute(SQL["state"], {"organisation": organisation})]


def change_budget(
    connection: Connection[Any], organisation: str, id: str, changes: Mapping[str, Any]
) -> Budget:
    """Change the name or the amounts of a budget in the caller's transaction.

    Args:
        changes: new values, by the names of the fields of ``BudgetLimits``.

    Raises:
        InvalidInput: a value is outside its limits.
        NotFound: there is no such organisation, or it has no such budget.
        NotPermitted: the operator created the budget, and the caller is not the operator.
        Conflict: the organisation is deleted.
    """
    lock_organisation(connection, organisation)
    before = _changeable(connection, organisation, id)
    after = replace(before, **changes)
    _check(after)
    changed = {
        name: [str(getattr(before, name)), str(getattr(after, name))]
        for name in LIMITS
        if getattr(before, name) != getattr(after, name)
    }
    if changed:
        values = {"organisation": organisation, "id": id}
        connection.execute(SQL["update"], {**values, **{name: getattr(after, name) for name in LIMITS}})
        record(connection, organisation, "budget.changed", target=id, details=changed)
    return get_budget(connection, organisation, id)


def delete_budget(connection: Connection[Any], organisation: str, id: str) -> None:
    """Delete a budget with its reservations, in the caller's transaction.

    Raises:
        NotFound: there is no such organisation, or it has no such budget.
        NotPermitted: the operator created the budget, and the caller is not the operator.
        Conflict: the organisation is deleted.
    """
    lock_organisation(connection, organisation)
    budget = _changeable(connection, organisation, id)
    values = {"organisation": organisation, "id": id}
    connection.execute(SQL["wait_for_usage"], values)
    connection.execute(SQL["delete"], values)
    record(connection, organisation, "budget.deleted", target=id, details=_details(budget))


def _changeable(connection: Connection[Any], organisation: str, id: str) -> Budget:
    budget = get_budget(connection, organisation, id)
    if budget.by_operator and not current_caller().operates:
        raise NotPermitted(
            f"the operator created the budget {id}, so only the operator may change or delete it; create a "
            "lower budget of your own, or ask the operator"
        )
    return budget


def _check(new: NewBudget) -> None:
    if len(new.name) > MAX_NAME_CHARACTERS or not (new.name.isprintable() or not new.name):
        raise InvalidInput(
            f"a budget's name has at most {MAX_NAME_CHARACTERS} printable characters", param="name"
        )
    if new.agent is not None and not (0 < len(new.agent) <= MAX_AGENT_CHARACTERS and new.agent.isprintable()):
        raise InvalidInput(
            f"agent is the id of an agent, of 1 to {MAX_AGENT_CHARACTERS} printable characters", param="agent"
        )
    if new.warn_at is None and new.stop_at is None:
        raise InvalidInput("a budget needs warn_at, stop_at or both", param="stop_at")
    for name in ("warn_at", "stop_at"):
        amount: Decimal | None = getattr(new, name)
        if amount is not None:
            _check_amount(name, amount, new.unit)
    if new.warn_at is not None and new.stop_at is not None and new.warn_at > new.stop_at:
        raise InvalidInput(
            f"warn_at is {new.warn_at:f}, which is above stop_at ({new.stop_at:f}), so the warning would "
            "never be sent; lower it",
            param="warn_at",
        )


def _check_amount(name: str, amount: Decimal, unit: Unit) -> None:
    decimals = 0 if unit is Unit.TOKENS else MAX_DECIMALS
    if not amount.is_finite() or not 0 < amount < MAX_AMOUNT or amount != round(amount, decimals):
        what = "a whole number of tokens" if unit is Unit.TOKENS else f"US dollars with {decimals} decimals"
        raise InvalidInput(f"{name} is {amount}; it must be {what}, above 0 and below 10^15", param=name)


def _check_key(connection: Connection[Any], organisation: str, key: str) -> None:
    try:
        get_key(connection, organisation, key)
    except NotFound as exc:
        raise InvalidInput(f"organisation {organisation} has no API key {key!r}", param="key") from exc


def _details(new: NewBudget) -> dict[str, Any]:
    names = [field.name for field in fields(NewBudget)]
    values = {name: getattr(new, name) for name in names}
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def _budget(row: Mapping[str, Any]) -> Budget:
    values = {field.name: row[field.name] for field in fields(Budget)}
    for name in ("starts_at", "ends_at"):
        values[name] = values[name].astimezone(UTC)
    return Budget(**{**values, "unit": Unit(row["unit"]), "period": Period(row["period"])})
