"""A warning and the first refusal of a period are announced once, by a webhook event and in the log."""

from decimal import Decimal
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool
from structlog.testing import capture_logs

from cluster.budgets.notices import check_budgets
from cluster.errors import BudgetExceeded
from tests.cluster.budgets.spender import Spender


@pytest.fixture
def events(connection: Connection[Any], organisation: str) -> Any:
    """Return the webhook events of the organisation, which subscribes to the events of budgets."""
    connection.execute(
        "INSERT INTO webhook_endpoints (organisation, id, url, event_types) "
        "VALUES (%s, 'we_1', 'https://example.com/', '{budget.warning,budget.exceeded}')",
        [organisation],
    )
    return lambda: connection.execute(
        "SELECT type, data ->> 'id' FROM webhook_events WHERE organisation = %s ORDER BY created_at",
        [organisation],
    ).fetchall()


def noted(logs: Any, organisation: str) -> list[str]:
    return [line["event"] for line in logs if line.get("organisation") == organisation]


def check(pool: ConnectionPool) -> None:
    with pool.connection() as connection:
        check_budgets(connection)


def test_a_warning_is_sent_once_in_a_period_even_if_nothing_reserves(
    spender: Spender, pool: ConnectionPool, organisation: str, events: Any
) -> None:
    budget = spender.budget(warn_at=Decimal(10))
    with capture_logs() as logs:
        spender.use(9)
        check(pool)
        assert events() == []
        for _ in range(3):
            spender.use(1)
            check(pool)
    assert events() == [("budget.warning", budget.id)]
    assert noted(logs, organisation) == ["budget_warning"]
    assert spender.only.warned_at is not None


def test_processes_that_check_at_the_same_time_send_one_warning(
    spender: Spender, pool: ConnectionPool, events: Any
) -> None:
    spender.budget(warn_at=Decimal(10))
    spender.use(10)
    with pool.connection() as first:
        check_budgets(first)
        check(pool)  # leaves the organisation to the first
        first.commit()
    check(pool)
    assert len(events()) == 1


def test_the_first_refusal_of_a_period_is_announced(spender: Spender, organisation: str, events: Any) -> None:
    budget = spender.budget(10, warn_at=Decimal(5))
    with capture_logs() as logs:
        spender.use(8, spender.reserve(8))
        for _ in range(2):
            with pytest.raises(BudgetExceeded):
                spender.reserve(3)
    assert sorted(events()) == [("budget.exceeded", budget.id), ("budget.warning", budget.id)]
    assert noted(logs, organisation) == ["budget_warning", "budget_exceeded"]
