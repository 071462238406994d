"""Submit a job that sends webhooks, if a delivery is due and no such job is open.

Workers call ``submit_deliveries`` every few seconds, in the same loop as ``submit_due`` for schedules.
Without due deliveries, a call reads one row of an index and writes nothing.
"""

from typing import Any

from psycopg import Connection

from cluster.jobs.kinds import DELIVER_WEBHOOKS
from cluster.jobs.queue import submit
from cluster.jobs.schedules.schedules import SYSTEM
from cluster.webhooks.outbox import has_work


def submit_deliveries(connection: Connection[Any]) -> None:
    """Submit a job in the caller's transaction if a job is needed."""
    if has_work(connection, organisation=SYSTEM, kind=DELIVER_WEBHOOKS.name):
        submit(connection, SYSTEM, DELIVER_WEBHOOKS, {})
