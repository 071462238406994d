"""Submit the jobs of schedules that are due. No time of a schedule gives an organisation two jobs.

Workers call ``submit_due`` every few seconds, and many processes may call it at the same time. One
transaction locks a due schedule, writes a run for each of its due times, submits the jobs and sets the next
time. The primary key of the runs refuses a second run of the same time, even if a process takes the time for
due again. For the times that passed while no worker was alive, ``catch_up`` of the schedule decides which
times get a job.

    jobs = submit_due(connection)
    (run,) = run_now(connection, schedule, accept=submit_as_it_is)

The clock is that of the database. If the clock jumps forward, the times in between are due at once. If the
clock jumps back, the next time of each schedule does not change, so no time gives a second job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from uuid import uuid4

import structlog
from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database import translated
from cluster.errors import Conflict, InvalidInput, NotFound, Retryable, Throttled
from cluster.jobs.jobs import INTERNAL_ERROR, THROTTLED, Job
from cluster.jobs.kinds import kind_named
from cluster.jobs.queue import submit
from cluster.jobs.schedules.run_window import RunWindow
from cluster.jobs.schedules.runs import ScheduleRun, runs_of_time
from cluster.jobs.schedules.schedules import SQL, CatchUp, Schedule, as_schedule
from cluster.jobs.schedules.windowed_jobs import earliest, mark
from cluster.organisations.audit import record
from cluster.webhooks.deliveries import record_event

log = structlog.get_logger(__name__)

#: Maximum number of due schedules, and maximum number of jobs, in one call of ``submit_due``. There are
#: limits because one call is one transaction.
DUE_LIMIT, JOBS_LIMIT = 100, 1_000
#: With ``catch_up`` ``none``, a time counts as missed if it passed longer ago than this duration.
MISSED_AFTER = timedelta(minutes=1)
#: Error code of a run whose job was refused.
REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class DueJob:
    """Describes a job to accept for one time of a schedule."""

    schedule: Schedule
    #: The organisation that will own the job.
    organisation: str
    #: The time of the schedule. For a job that a person starts, the time at which it is started.
    scheduled_for: datetime
    #: True if a person starts the job. The job may then begin at once, even outside the
    #: schedule's window.
    by_hand: bool = False

    @property
    def run_window(self) -> RunWindow | None:
        """The window in which the job may begin; None if the job may begin at any time."""
        return None if self.by_hand else self.schedule.options.run_window

    @property
    def queue_options(self) -> dict[str, Any]:
        """The arguments ``priority_class``, ``priority`` and ``run_at`` for functions that queue a job."""
        return {
            "priority_class": self.schedule.priority_class,
            "priority": self.schedule.priority,
            "run_at": earliest(self.run_window, None),
        }


#: A function that accepts a job in the caller's transaction, and returns the job.
Accept = Callable[[Connection[Any], DueJob], Job]


def submit_as_it_is(connection: Connection[Any], due: DueJob) -> Job:
    """Submit the job with the schedule's arguments as its input.

    ``cluster.submissions.accept_due`` also accepts the kinds of jobs whose input names files and stores.
    """
    schedule = due.schedule
    kind, options = kind_named(schedule.kind), due.queue_options
    return submit(connection, due.organisation, kind, schedule.arguments, subject=schedule.id, **options)


def submit_due(
    connection: Connection[Any],
    *,
    accept: Accept = submit_as_it_is,
    now: datetime | None = None,
    limit: int = DUE_LIMIT,
) -> list[Job]:
    """Submit the jobs of all due schedules in the caller's transaction, and return the jobs.

    Schedules that another process has locked are skipped. A schedule whose cron expression or time zone is
    invalid is disabled, and the log says so.

    Args:
        accept: is called to accept each job.
        now: the time; None: the time of the database.
        limit: maximum number of schedules.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL["due_of_all"], {"limit": limit, "now": now}).fetchall()
    jobs = list[Job]()
    for row in rows:
        if len(jobs) >= JOBS_LIMIT:
            break
        at = row.pop("now")
        schedule = as_schedule(row)
        try:
            jobs += _submit_times(connection, schedule, accept, at, room=JOBS_LIMIT - len(jobs))
        except InvalidInput as exc:
            log.error("schedule_disabled", schedule=schedule.id, reason=str(exc))
            values = {"organisation": schedule.organisation, "id": schedule.id, "reason": str(exc)}
            connection.execute(SQL["disable"], values)
            details = {"reason": str(exc)}
            record(
                connection, schedule.organisation, "schedule.disabled", target=schedule.id, details=details
            )
            record_event(connection, schedule.organisation, "schedule.disabled", {"id": schedule.id})
    return jobs


def run_now(connection: Connection[Any], schedule: Schedule, *, accept: Accept) -> list[ScheduleRun]:
    """Submit a job of the schedule at once, in the caller's transaction, and return the runs.

    A schedule of all organisations gives each organisation a job and a run. The times of the schedule do not
    change.

    Raises:
        ClusterError: a job was refused. The caller's transaction is then rolled back, so no job is submitted.
    """
    row = connection.execute(SQL["now"]).fetchone()
    assert row is not None
    record(connection, schedule.organisation, "schedule.run", target=schedule.id)
    for organisation in _organisations(connection, schedule, row[0], limit=None):
        due = DueJob(schedule=schedule, organisation=organisation, scheduled_for=row[0], by_hand=True)
        _run(connection, due, accept)
    return runs_of_time(connection, schedule.organisation, schedule.id, row[0])


def _submit_times(
    connection: Connection[Any], schedule: Schedule, accept: Accept, now: datetime, *, room: int
) -> list[Job]:
    """Submit the jobs of the schedule's due times, at most ``room`` jobs, and set the schedule's next time.

    Raises:
        InvalidInput: the cron expression or the time zone of the schedule is invalid.
    """
    timing, first = schedule.timing, schedule.next_run_at
    if schedule.catch_up == CatchUp.ALL:
        due = takewhile(lambda time: time <= now, timing.times_from(first))
        times, missed_from = list(islice(due, min(room, schedule.catch_up_limit))), None
        following = timing.next_after(times[-1])
    else:
        latest = timing.latest(first, now)
        times, missed_from = [latest], None if latest == first else first
        following = timing.next_after(latest)
        if schedule.catch_up == CatchUp.NONE and now - latest > MISSED_AFTER:
            log.warning("schedule_times_missed", schedule=schedule.id, first=str(first), last=str(latest))
            times = []
    jobs, last = list[Job](), None
    for time in times:
        found = _organisations(connection, schedule, time, limit=room)
        for organisation in found:
            one = DueJob(schedule=schedule, organisation=organisation, scheduled_for=time)
            job = _run(connection, one, accept, missed_from=missed_from)
            jobs += [job] if job is not None else []
        room -= len(found)
        if schedule.all_organisations and room == 0:
            # Some organisations may not have their job yet. The next call finds the organisations without a
            # run for this time.
            following = time if schedule.catch_up == CatchUp.ALL else first
            break
        last = time
    values = {
        "organisation": schedule.organisation,
        "id": schedule.id,
        "last_run_at": last,
        "last_job": jobs[-1].id if jobs else None,
        "next_run_at": following,
    }
    connection.execute(SQL["advance"], values)
    return jobs


def _organisations(
    connection: Connection[Any], schedule: Schedule, time: datetime, *, limit: int | None
) -> list[str]:
    """Return the organisations that get a job for this time and may not have this job yet, at most ``limit``
    organisations.
    """
    if not schedule.all_organisations:
        return [schedule.organisation]
    key = {"organisation": schedule.organisation, "id": schedule.id, "scheduled_for": time, "limit": limit}
    return [id for (id,) in connection.execute(SQL["organisations_of_all"], key)]


def _run(
    connection: Connection[Any], due: DueJob, accept: Accept, *, missed_from: datetime | None = None
) -> Job | None:
    """Write the run and submit its job; return None if the time has a run already or no job is accepted.

    The refusal of a job that a person starts is raised. Any other refusal is written into the run, because it
    must not delay other schedules.
    """
    run = {
        "organisation": due.schedule.organisation,
        "schedule": due.schedule.id,
        "scheduled_for": due.scheduled_for,
        "job_organisation": due.organisation,
        "id": f"run_{uuid4().hex}",
        "by_hand": due.by_hand,
        "missed_from": missed_from,
    }
    if connection.execute(SQL["begin_run"], run).fetchone() is None:
        return None
    end: dict[str, str | None] = {"job": None, "error": None, "error_code": None}
    job: Job | None = None
    try:
        with translated(), connection.transaction():
            job = accept(connection, due)
            job = mark(
                connection,
                job,
                schedule=due.schedule.id,
                scheduled_for=due.scheduled_for,
                run_window=due.run_window,
            )
        end["job"] = job.id
    except (InvalidInput, NotFound, Conflict, Throttled) as exc:
        if due.by_hand:
            raise
        code = THROTTLED if isinstance(exc, Throttled) else REFUSED
        log.warning("scheduled_job_refused", schedule=due.schedule.id, reason=str(exc))
        end |= {"error": str(exc), "error_code": code}
    except Retryable:
        raise  # the whole transaction is repeated
    except Exception as exc:  # because a fault of one schedule must not stop other schedules
        if due.by_hand:
            raise
        log.exception("scheduled_job_failed", schedule=due.schedule.id)
        end |= {"error": f"{type(exc).__name__}: {exc}", "error_code": INTERNAL_ERROR}
    connection.execute(SQL["end_run"], {**run, **end})
    if end["error"] is not None:
        # The same event for a job that failed later is recorded by a trigger (migration 0029).
        record_event(connection, due.organisation, "schedule.failed", {"id": due.schedule.id})
    return job
