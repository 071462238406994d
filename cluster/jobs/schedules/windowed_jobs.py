"""Let jobs that have a window begin only while the window is open.

Called by ``POST /v1/jobs`` and by ``due`` when they submit a job, and by ``attempts.claim`` when a worker
takes a turn.

    job = queue.submit(connection, "default", kind, {...}, run_at=earliest(window, not_before))
    mark(connection, job, run_window=window)
"""

from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.jobs.jobs import Job, PriorityClass, select_jobs, with_columns
from cluster.jobs.queue import add_turns
from cluster.jobs.schedules.run_window import RunWindow

SQL = with_columns("schedules/windowed_jobs.sql")

#: Maximum number of jobs that one statement postpones.
POSTPONED_LIMIT = 1_000


def earliest(window: RunWindow | None, not_before: datetime | None) -> datetime | None:
    """Return the time from which a new job may begin; None if it may begin at once."""
    now = datetime.now(UTC)
    begins = max(now, not_before or now)
    begins = begins if window is None else window.opening(begins)
    return begins if begins > now else None


def mark(
    connection: Connection[Any],
    job: Job,
    *,
    run_window: RunWindow | None = None,
    schedule: str | None = None,
    scheduled_for: datetime | None = None,
) -> Job:
    """Store the window and the schedule of a job that this transaction has submitted, and return the job.

    Attaching a file again can return a job that was accepted earlier. Such a job does not change.
    """
    if run_window is None and schedule is None:
        return job
    values = {
        "organisation": job.organisation,
        "id": job.id,
        "schedule": schedule,
        "scheduled_for": scheduled_for,
        "run_window": None if run_window is None else Jsonb(run_window.json()),
    }
    marked = select_jobs(connection, SQL["mark"], values)
    return marked[0] if marked else job


def postpone(
    connection: Connection[Any],
    organisation: str,
    priority_class: PriorityClass,
    window: dict[str, Any],
    until: datetime,
) -> None:
    """Postpone the organisation's queued jobs of this class and window to ``until``. Add a turn for each job
    that was postponed.

    One call postpones at most ``POSTPONED_LIMIT`` jobs, and only jobs whose earliest start time has passed.
    """
    values = {
        "organisation": organisation,
        "priority_class": priority_class,
        "run_window": Jsonb(window),
        "until": until,
        "limit": POSTPONED_LIMIT,
    }
    count = connection.execute(SQL["postpone"], values).rowcount
    add_turns(connection, organisation, priority_class, count, run_at=until)
