"""List the runs of a schedule: one for each time and each job, with the state and the result of the job.

Called by the routes and by ``python -m data_jobs.schedules``. ``due`` writes the runs. A run is deleted when
its job is archived, or when its schedule is deleted. ``delete_old_runs`` deletes old runs that have no job.

    page = list_runs(connection, "default", "sched_...", PageRequest(limit=20))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.jobs.jobs import JobState

COLUMNS = """
    run.id, run.schedule, run.scheduled_for, run.by_hand, run.missed_from, run.job, run.job_organisation,
    coalesce(job.state, 'failed') AS state, coalesce(job.error, run.error) AS error,
    coalesce(job.error_code, run.error_code) AS error_code,
    job.result, run.created_at, job.started_at, job.finished_at
"""
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.jobs.schedules", "runs.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleRun:
    """Holds one run of a schedule, and what the job of the run shows now."""

    id: str
    schedule: str
    #: The time of the schedule. For a run that a person started, the time at which it was started.
    scheduled_for: datetime
    #: True if a person started the run.
    by_hand: bool
    #: If the job of this run replaces the jobs of missed times, the first of these times; otherwise None.
    missed_from: datetime | None
    #: Id of the job; None if no job was accepted.
    job: str | None
    #: The organisation that owns the job.
    job_organisation: str
    #: State of the job. ``failed`` if no job was accepted.
    state: JobState
    error: str | None
    error_code: str | None
    #: Result of the job; None if the job has not ended, or ended without a result.
    result: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first attempt to the end of the job; None if the job has not begun or ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


def list_runs(
    connection: Connection[Any], organisation: str, schedule: str, page: PageRequest
) -> ListPage[ScheduleRun]:
    """Return one page of the runs of the organisation's schedule, ordered by the times of the schedule.

    Raises:
        InvalidInput: the page's cursor names no run of the schedule.
    """
    values = {"organisation": organisation, "schedule": schedule}
    rows = read_page(connection, LISTS, values, page)
    return ListPage(items=[_run(row) for row in rows.items], has_more=rows.has_more)


def runs_of_time(
    connection: Connection[Any], organisation: str, schedule: str, scheduled_for: datetime
) -> list[ScheduleRun]:
    """Return the runs of the schedule for one time, ordered by the organisations of the jobs."""
    values = {"organisation": organisation, "schedule": schedule, "scheduled_for": scheduled_for}
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_run(row) for row in cursor.execute(SQL["of_time"], values)]


def delete_old_runs(connection: Connection[Any], *, older_than_s: float) -> int:
    """Delete the runs of all organisations that have no job and are older than ``older_than_s`` seconds.
    Return the number of deleted runs.
    """
    return connection.execute(SQL["delete_old_of_all"], {"older_than_s": older_than_s}).rowcount


def _run(row: Mapping[str, Any]) -> ScheduleRun:
    return ScheduleRun(**{**row, "state": JobState(row["state"])})
