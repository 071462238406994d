"""Send the warnings of budgets that are due. Submit a job that sends webhooks, if a delivery is due and no
other job sends webhooks.

Workers call ``notify`` every few seconds, in the same loop as ``submit_due`` for schedules.
If nothing is due, the call looks for rows in three indexes and writes nothing.
"""

from typing import Any

from psycopg import Connection

from cluster.budgets.notices import check_budgets
from cluster.jobs.jobs import SYSTEM
from cluster.jobs.kinds import DELIVER_WEBHOOKS
from cluster.jobs.queue import submit
from cluster.webhooks.outbox import has_work


def notify(connection: Connection[Any]) -> None:
    """Send the warnings of budgets that are due, and submit the job that sends webhooks if a delivery is due,
    in the caller's transaction.
    """
    check_budgets(connection)
    submit_deliveries(connection)


def submit_deliveries(connection: Connection[Any]) -> None:
    """Submit the job in the caller's transaction, if a delivery is due and no other job sends webhooks."""
    if has_work(connection, organisation=SYSTEM, kind=DELIVER_WEBHOOKS.name):
        submit(connection, SYSTEM, DELIVER_WEBHOOKS, {})
