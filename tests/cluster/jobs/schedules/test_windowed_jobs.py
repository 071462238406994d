"""A job with a window begins only while the window is open, and says until when it waits."""

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

from cluster.jobs import attempts, queue
from cluster.jobs.jobs import Job, JobState, get_job
from cluster.jobs.queue_tables import missing_turns
from cluster.jobs.schedules.run_window import RunWindow
from cluster.jobs.schedules.windowed_jobs import earliest, mark
from cluster.jobs.view import view_job
from tests.cluster.jobs.turns import TEST, begin, take


def hours(first: float, last: float) -> RunWindow:
    """The window that opens and closes this many hours from now, every day."""
    now = datetime.now(UTC)
    times = [f"{now + timedelta(hours=hour):%H:%M}" for hour in (first, last)]
    return RunWindow(begins=times[0], ends=times[1])


def submit(connection: Connection[Any], organisation: str, window: RunWindow | None, **options: Any) -> Job:
    with connection.transaction():
        run_at = earliest(window, None)
        job = queue.submit(connection, organisation, TEST, {}, run_at=run_at, **options)
        return mark(connection, job, run_window=window)


def test_a_job_waits_for_its_window_and_delays_no_other(
    connection: Connection[Any], organisation: str
) -> None:
    window = hours(2, 3)
    windowed = submit(connection, organisation, window, priority=9)
    now = datetime.now(UTC)
    opens = window.opening(now)
    assert (windowed.retry_at, windowed.run_window) == (opens, window.json())
    waiting = view_job(connection, organisation, windowed.id, now=now, lease_s=30).waiting
    assert waiting is not None
    assert (waiting.reason, waiting.until) == ("window", opens)
    other = submit(connection, organisation, hours(-1, 1))
    assert other.retry_at is None
    assert begin(connection, organisation).id == other.id
    assert take(connection, organisation) is None


def test_a_job_that_found_no_worker_in_its_window_waits_for_the_next_one(
    connection: Connection[Any], organisation: str
) -> None:
    """Its turn comes after the window has closed: a retry, or an outage of all workers."""
    window = hours(2, 3)
    late = [submit(connection, organisation, window, priority=9) for _ in range(3)]
    for table, column in (("jobs", "retry_at"), ("procrastinate_jobs", "scheduled_at")):
        owner = "organisation" if table == "jobs" else "args ->> 'organisation'"
        connection.execute(f"UPDATE {table} SET {column} = now() WHERE {owner} = %s", [organisation])
    other = submit(connection, organisation, None)
    assert begin(connection, organisation).id == other.id
    for job in late:
        after = get_job(connection, organisation, job.id)
        assert (after.state, after.retry_at) == (JobState.QUEUED, window.opening(datetime.now(UTC)))
    while (turn := take(connection, organisation)) is not None:
        assert attempts.claim(connection, turn, worker="w", kinds=[TEST.name]) is None
    assert organisation not in {owner for owner, _, _ in missing_turns(connection)}
