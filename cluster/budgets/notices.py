"""Warn an organisation when it has used a part of a budget, and when a budget refuses work: once in each
period, by a webhook event and a line in the log.

Every reservation checks the warnings of its organisation. Workers check the organisations with new charges
every few seconds (``data_jobs.worker.consumer``), so budgets that refuse nothing also send warnings.

    check_budgets(connection)
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import Connection

from cluster.budgets.budgets import SQL as STATE_SQL
from cluster.budgets.budgets import Budget, budgets_of
from cluster.database.queries import queries
from cluster.webhooks.deliveries import record_event

log = structlog.get_logger(__name__)

SQL = queries("cluster.budgets", "notices.sql")
#: Maximum number of organisations that one call of ``check_budgets`` checks.
ORGANISATIONS_AT_ONCE = 100
WARNING, EXCEEDED = "budget.warning", "budget.exceeded"


def check_budgets(connection: Connection[Any]) -> None:
    """Add the new charges of organisations to their periods, and send the warnings that are due. Delete
    expired reservations. The caller commits.

    An organisation whose budgets are locked is left out, because the process that holds the lock
    does the same.
    """
    connection.execute(SQL["delete_expired_of_all"])
    charged = connection.execute(SQL["charged_of_all"], {"limit": ORGANISATIONS_AT_ONCE}).fetchall()
    for (organisation,) in charged:
        values = {"organisation": organisation}
        if connection.execute(SQL["lock_unless_locked"], values).fetchone() == (True,):
            connection.execute(STATE_SQL["open_periods"], values)
            add_charges(connection, organisation, budgets_of(connection, organisation))


def add_charges(connection: Connection[Any], organisation: str, budgets: Sequence[Budget]) -> list[Budget]:
    """Add the new charges of the organisation to its periods, and send the warnings that are due.

    Args:
        budgets: all budgets of the organisation with their current state; the caller has locked them.

    Returns:
        The same budgets. If a warning was sent now, ``warned_at`` is set.
    """
    connection.execute(STATE_SQL["add_charges"], {"organisation": organisation})
    return [
        _warned(connection, budget)
        if budget.warn_at is not None and budget.warned_at is None and budget.used >= budget.warn_at
        else budget
        for budget in budgets
    ]


def record_stop(connection: Connection[Any], organisation: str, budgets: Sequence[Budget]) -> None:
    """For each budget that refused work for the first time in its period, record the refusal and inform the
    organisation.
    """
    for budget in budgets:
        if budget.stopped_at is None:
            connection.execute(SQL["stopped"], _period(budget))
            record_event(connection, organisation, EXCEEDED, _data(budget))
            log.warning("budget_exceeded", **_logged(budget))


def _warned(connection: Connection[Any], budget: Budget) -> Budget:
    connection.execute(SQL["warned"], _period(budget))
    record_event(connection, budget.organisation, WARNING, _data(budget))
    log.warning("budget_warning", **_logged(budget))
    return replace(budget, warned_at=datetime.now(UTC))


def _period(budget: Budget) -> dict[str, Any]:
    return {"organisation": budget.organisation, "budget": budget.id, "starts_at": budget.starts_at}


def _data(budget: Budget) -> dict[str, Any]:
    return {"id": budget.id, "period_starts_at": int(budget.starts_at.timestamp())}


def _logged(budget: Budget) -> dict[str, Any]:
    limit = budget.warn_at if budget.stop_at is None else budget.stop_at
    return {
        "organisation": budget.organisation,
        "budget": budget.id,
        "used": str(budget.used),
        "limit": str(limit),
        "unit": budget.unit,
        "renews": budget.renews,
    }
