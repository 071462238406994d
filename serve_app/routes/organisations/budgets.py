"""/v1/budgets: create, get, list, change and delete the budgets of the caller's organisation.

These routes need a key with the scope ``admin``, or the operator's key. A budget that the operator created
can be changed and deleted by the operator only.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from cluster.budgets import budgets
from cluster.budgets.budgets import MAX_AGENT_CHARACTERS, MAX_NAME_CHARACTERS, Budget, NewBudget, Period, Unit
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import PositiveWhole, RequestModel, Text
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.edge.service_access import ServiceDep

router = json_router(404, 409)

#: A whole number, or a decimal number as text. A JSON number with decimals is refused, because it would pass
#: through floating point and lose digits.
Amount = PositiveWhole | Annotated[str, Field(pattern=r"^[0-9]{1,16}(\.[0-9]{1,12})?$")]
Name = Annotated[Text, Field(max_length=MAX_NAME_CHARACTERS)]


class LimitsRequest(RequestModel):
    """The fields that can be changed later."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False, because the budget would allow more if a misspelled limit were ignored."""
        del name
        return False

    name: Name | None = None
    """A name by which people know the budget."""
    warn_at: Amount | None = None
    """Used amount at which a warning is sent, once in each period: a whole number, or a decimal number as
    text, such as `"12.50"`; null: no warning.
    """
    stop_at: Amount | None = None
    """Amount that is never exceeded, because work beyond it is refused: a whole number, or a decimal number
    as text; null: nothing is refused.
    """


class NewBudgetRequest(LimitsRequest):
    """A new budget. It needs `warn_at`, `stop_at` or both."""

    unit: Literal["tokens", "usd"]
    """The unit in which the budget counts: `tokens` that models read, or `usd`, US dollars by the prices of
    the work."""
    period: Literal["day", "week", "month"]
    """The time after which the budget renews, in the organisation's time zone: `day`, `week` (from Monday)
    or `month` (from the organisation's billing day)."""
    key: Text | None = None
    """Id of the only API key whose work counts; null: the work of every caller counts."""
    agent: Annotated[Text, Field(min_length=1, max_length=MAX_AGENT_CHARACTERS)] | None = None
    """Id of the only agent whose work counts; null: all work counts."""


class BudgetChangesRequest(LimitsRequest):
    """Changes of a budget. A field that is not given does not change; null removes an amount."""

    NULL_CLEARS = frozenset({"warn_at", "stop_at"})


class BudgetObject(ResponseModel):
    """A budget, and what its current period has used. Amounts are decimal numbers as text."""

    id: str
    """Id of the budget, `bud_...`."""
    object: Literal["budget"] = "budget"
    """Always `budget`."""
    name: str
    """Name of the budget, for people; may be empty."""
    unit: Unit
    """The unit in which the budget counts: `tokens` or `usd`."""
    period: Period
    """The time after which the budget renews: `day`, `week` or `month`."""
    key: str | None
    """Id of the only API key whose work counts; null: the work of every caller counts."""
    agent: str | None
    """Id of the only agent whose work counts; null: all work counts."""
    warn_at: str | None
    """Used amount at which a warning is sent; null: no warning."""
    stop_at: str | None
    """Amount beyond which work is refused; null: nothing is refused."""
    by_operator: bool
    """True if only the operator may change or delete the budget."""
    used: str
    """Amount that the current period has used."""
    reserved: str
    """Amount that work in progress has reserved."""
    period_starts_at: int
    """When the current period began, in seconds since 1970."""
    renews_at: int
    """When the budget renews, in seconds since 1970."""
    warned_at: int | None
    """When the warning of the current period was sent, in seconds since 1970; null: it was not sent."""
    exceeded_at: int | None
    """When the budget first refused work in the current period, in seconds since 1970; null: it refused
    nothing."""
    created_at: int
    """When the budget was created, in seconds since 1970."""

    @classmethod
    def of(cls, budget: Budget) -> Self:
        """Convert the budget into the object that answers contain."""

        def seconds(at: Any) -> int | None:
            return None if at is None else int(at.timestamp())

        return cls(
            id=budget.id,
            name=budget.name,
            unit=budget.unit,
            period=budget.period,
            key=budget.key,
            agent=budget.agent,
            warn_at=None if budget.warn_at is None else _plain(budget.warn_at),
            stop_at=None if budget.stop_at is None else _plain(budget.stop_at),
            by_operator=budget.by_operator,
            used=_plain(budget.used),
            reserved=_plain(budget.reserved),
            period_starts_at=int(budget.starts_at.timestamp()),
            renews_at=int(budget.ends_at.timestamp()),
            warned_at=seconds(budget.warned_at),
            exceeded_at=seconds(budget.stopped_at),
            created_at=int(budget.created_at.timestamp()),
        )


class BudgetList(ListObject[BudgetObject]):
    """One page of the budgets."""


class DeletedBudget(ResponseModel):
    """The answer to the deletion of a budget."""

    id: str
    """Id of the budget."""
    object: Literal["budget.deleted"] = "budget.deleted"
    """Always `budget.deleted`."""
    deleted: Literal[True] = True
    """Always true."""


@router.post("/v1/budgets", summary="Create a budget")
async def create(body: NewBudgetRequest, service: ServiceDep, organisation: Organisation) -> BudgetObject:
    """Creates a budget of the caller's organisation. What its current period has used so far counts."""
    new = NewBudget(
        unit=Unit(body.unit),
        period=Period(body.period),
        key=body.key,
        agent=body.agent,
        **_limits(body, body.model_fields_set),
    )
    return BudgetObject.of(
        await service.in_transaction(lambda connection: budgets.create_budget(connection, organisation, new))
    )


@router.get("/v1/budgets", summary="List budgets")
async def list_all(page: PageDep, service: ServiceDep, organisation: Organisation) -> BudgetList:
    """Lists the budgets of the caller's organisation, each with what its current period has used."""
    found = await service.read(lambda connection: budgets.list_budgets(connection, organisation, page))
    return BudgetList.of(found, BudgetObject.of, lambda budget: budget.id)


@router.get("/v1/budgets/{budget_id}", summary="Get a budget")
async def get(budget_id: str, service: ServiceDep, organisation: Organisation) -> BudgetObject:
    """Returns the budget with this id, and what its current period has used."""
    return BudgetObject.of(
        await service.read(lambda connection: budgets.get_budget(connection, organisation, budget_id))
    )


@router.patch("/v1/budgets/{budget_id}", summary="Change a budget", responses=documented_errors(404, 409))
async def change(
    budget_id: str, body: BudgetChangesRequest, service: ServiceDep, organisation: Organisation
) -> BudgetObject:
    """Changes the given fields. Every replica applies new amounts within a second."""
    changes = _limits(body, body.model_fields_set)
    return BudgetObject.of(
        await service.in_transaction(
            lambda connection: budgets.change_budget(connection, organisation, budget_id, changes)
        )
    )


@router.delete("/v1/budgets/{budget_id}", summary="Delete a budget")
async def delete(budget_id: str, service: ServiceDep, organisation: Organisation) -> DeletedBudget:
    """Deletes the budget. Its usage stays recorded."""
    await service.in_transaction(
        lambda connection: budgets.delete_budget(connection, organisation, budget_id)
    )
    return DeletedBudget(id=budget_id)


def _limits(body: LimitsRequest, given: set[str]) -> dict[str, Any]:
    values: dict[str, Any] = {"name": body.name or ""} if "name" in given else {}
    for name in ("warn_at", "stop_at"):
        if name in given:
            amount = getattr(body, name)
            values[name] = None if amount is None else Decimal(amount)
    return values


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
