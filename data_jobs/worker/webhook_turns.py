"""Submit a job that sends webhooks, if a delivery is due and no other job sends webhooks.

Workers call ``submit_deliveries`` every few seconds, in the same loop as ``submit_due`` for schedules.
If no delivery is due, the call only looks for one row in an index and writes nothing.
"""

from typing import Any

from psycopg import Connection

from cluster.jobs.jobs import SYSTEM
from cluster.jobs.kinds import DELIVER_WEBHOOKS
from cluster.jobs.queue import submit
from cluster.webhooks.outbox import has_work


def submit_deliveries(connection: Connection[Any]) -> None:
    """Submit the job in the caller's transaction, if a delivery is due and no other job sends webhooks."""
    if has_work(connection, organisation=SYSTEM, kind=DELIVER_WEBHOOKS.name):
        submit(connection, SYSTEM, DELIVER_WEBHOOKS, {})
