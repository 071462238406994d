"""A process that looks for due schedules in a loop, as a worker does, with a clock that a test sets."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from cluster.jobs.jobs import Job
from cluster.jobs.schedules.due import DueJob, submit_as_it_is, submit_due

#: Seconds that accepting a job takes, so that a process is often killed in the middle of its transaction.
ACCEPT_S = 0.002


def accept(connection: Connection[Any], due: DueJob) -> Job:
    """Accept the job slowly."""
    job = submit_as_it_is(connection, due)
    time.sleep(ACCEPT_S)
    return job


def look_for_due_schedules(database_url: str, clock: Path) -> None:
    """Submit the jobs of due schedules until the process is killed.

    Args:
        clock: a file with the time.
    """
    with psycopg.connect(database_url) as connection:
        while True:
            with connection.transaction():
                submit_due(connection, accept=accept, now=datetime.fromisoformat(clock.read_text()))
            time.sleep(0.001)
