"""``Spender`` reserves and uses tokens of one organisation, for tests and for processes that tests start."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

from psycopg_pool import ConnectionPool

from cluster.budgets.budgets import Budget, NewBudget, Period, Unit, budgets_of, create_budget
from cluster.budgets.reservations import Work, release, reserve
from cluster.errors import BudgetExceeded
from cluster.usage.events import EMBEDDING, UsageEvent, UsageSource, record_usage

MODEL = "all-MiniLM-L6-v2"


class Spender:
    """Reserves, records and reads for one organisation, each in a transaction of its own."""

    def __init__(self, pool: ConnectionPool, organisation: str) -> None:
        self.pool, self.organisation = pool, organisation

    def budget(self, stop_at: object = None, **options: Any) -> Budget:
        """Create a budget of tokens a month, unless the options say otherwise."""
        given = {"unit": Unit.TOKENS, "period": Period.MONTH, **options}
        if stop_at is not None:
            given["stop_at"] = Decimal(str(stop_at))
        with self.pool.connection() as connection:
            return create_budget(connection, self.organisation, NewBudget(**given))

    def reserve(
        self, tokens: int, *, lease_s: float = 60.0, key: str | None = None, id: str | None = None
    ) -> str:
        """Reserve tokens of the model, and return the id of the reservation."""
        work = Work(id=id or uuid4().hex, amounts={(EMBEDDING, MODEL): tokens}, key=key)
        with self.pool.connection() as connection:
            refused = reserve(connection, self.organisation, [work], owner="test", lease_s=lease_s)
        if refused:
            raise refused[work.id]
        return work.id

    def use(self, tokens: int, *reservations: str, **fields: Any) -> None:
        """Write a usage event, and release the reservations in the same transaction."""
        given = {"id": uuid4().hex, "source": UsageSource.HTTP, "model": MODEL, **fields}
        event = UsageEvent(organisation=self.organisation, quantity=tokens, **given)
        with self.pool.connection() as connection:
            record_usage(connection, [event])
            release(connection, self.organisation, reservations)

    @property
    def only(self) -> Budget:
        """The only budget of the organisation, with its current state."""
        with self.pool.connection() as connection:
            (budget,) = budgets_of(connection, self.organisation)
        return budget

    def fits(self, tokens: int) -> bool:
        """True if the tokens can be reserved now. They are returned at once."""
        try:
            id = self.reserve(tokens)
        except BudgetExceeded:
            return False
        with self.pool.connection() as connection:
            release(connection, self.organisation, [id])
        return True
