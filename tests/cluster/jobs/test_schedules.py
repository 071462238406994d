"""A schedule gives one job for each of its times, in any number of processes, over changes of the clock and
of the summer time.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.errors import InvalidInput
from cluster.jobs.jobs import Job, JobState, PriorityClass
from cluster.jobs.kinds import KINDS, JobKind
from cluster.jobs.schedules import (
    SYSTEM_SCHEDULES,
    Schedule,
    create_schedule,
    create_system_schedules,
    get_schedules,
    next_run,
    submit_due,
)
from tests.cluster.jobs.turns import TEST, jobs_of


def make(connection: Connection[Any], organisation: str, *, due_s_ago: float, **options: Any) -> Schedule:
    """A schedule that has been due for so long."""
    made = create_schedule(connection, organisation, TEST, **{"interval_s": 60, **options})
    assert made is not None
    connection.execute(
        "UPDATE schedules SET next_run_at = now() - make_interval(secs => %s)"
        " WHERE organisation = %s AND id = %s",
        [due_s_ago, organisation, made.id],
    )
    return look(connection, organisation)


def look(connection: Connection[Any], organisation: str) -> Schedule:
    (schedule,) = get_schedules(connection, organisation)
    return schedule


def times(cron: str, zone: str, first: datetime, count: int) -> list[str]:
    found, now = list[str](), first
    for _ in range(count):
        now = next_run(cron=cron, interval_s=None, time_zone=zone, last=now, now=now)
        found.append(f"{now:%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("cron", "first", "expected"),
    [
        ("30 2 * * *", datetime(2026, 10, 24, tzinfo=UTC), ["24 00:30", "25 00:30", "26 01:30"]),
        ("0 * * * *", datetime(2026, 10, 24, 23, 30, tzinfo=UTC), ["25 00:00", "25 01:00", "25 02:00"]),
        ("30 2 * * *", datetime(2026, 3, 28, tzinfo=UTC), ["28 01:30", "29 01:30", "30 00:30"]),
        ("0 * * * *", datetime(2026, 3, 28, 23, 30, tzinfo=UTC), ["29 00:00", "29 01:00", "29 02:00"]),
        ("*/20 2 * * *", datetime(2026, 10, 25, 1, 5, tzinfo=UTC), ["26 01:00", "26 01:20", "26 01:40"]),
    ],
    ids=["daily, back", "hourly, back", "daily, forward", "hourly, forward", "in the second of two hours"],
)
def test_a_daily_schedule_is_due_once_and_an_hourly_one_every_hour_when_clocks_change(
    cron: str, first: datetime, expected: list[str]
) -> None:
    assert times(cron, "Europe/Berlin", first, 3) == expected


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"cron": "every day"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"cron": "0 2 * * *", "interval_s": 60}, "cron"),
        ({}, "cron"),
        ({"interval_s": 0}, "interval_s"),
        ({"interval_s": 10**12}, "interval_s"),
        ({"cron": "0 2 * * *", "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"cron": "0 2 * * *", "time_zone": "../etc/passwd"}, "time_zone"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    connection: Connection[Any], organisation: str, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        create_schedule(connection, organisation, TEST, **options)
    assert refused.value.param == param


def test_a_due_schedule_gives_a_job_and_moves_on(connection: Connection[Any], organisation: str) -> None:
    schedule = make(connection, organisation, due_s_ago=5, arguments={"day": 1})
    (job,) = [job for job in submit_due(connection) if job.organisation == organisation]
    assert (job.kind, job.state, job.input, job.priority_class) == (
        TEST.name,
        JobState.QUEUED,
        {"day": 1},
        PriorityClass.SCHEDULED,
    )
    after = look(connection, organisation)
    assert (after.last_run_at, after.last_job) == (schedule.next_run_at, job.id)
    assert after.next_run_at == schedule.next_run_at + timedelta(seconds=60)
    assert submit_due(connection) == []


def test_the_times_that_were_missed_give_one_job_together(
    connection: Connection[Any], organisation: str
) -> None:
    schedule = make(connection, organisation, due_s_ago=1_000)
    submit_due(connection)
    submit_due(connection)
    assert len(jobs_of(connection, organisation)) == 1
    after = look(connection, organisation)
    assert (after.next_run_at - schedule.next_run_at) % timedelta(seconds=60) == timedelta()
    assert after.next_run_at > datetime.now(UTC)


def test_many_processes_submit_one_job_for_one_time(pool: ConnectionPool, organisation: str) -> None:
    def submit() -> list[Job]:
        with pool.connection() as connection:
            return [job for job in submit_due(connection) if job.organisation == organisation]

    with pool.connection() as connection:
        schedule = make(connection, organisation, due_s_ago=1)
    with ThreadPoolExecutor(4) as threads:
        found = [job for each in threads.map(lambda _: submit(), range(8)) for job in each]
    assert len(found) == 1
    with pool.connection() as connection:  # the same time again, as after a restored backup
        connection.execute(
            "UPDATE schedules SET next_run_at = %s WHERE organisation = %s",
            [schedule.next_run_at, organisation],
        )
        submit_due(connection)
        assert len(jobs_of(connection, organisation)) == 1


def test_one_that_is_disabled_or_invalid_submits_nothing_and_delays_no_other(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    make(connection, organisation, due_s_ago=10)
    connection.execute(
        "UPDATE schedules SET cron = 'nonsense', interval_s = NULL WHERE organisation = %s", [organisation]
    )
    make(connection, stranger, due_s_ago=5)
    submit_due(connection)
    assert jobs_of(connection, organisation) == []
    assert not look(connection, organisation).enabled
    assert len(jobs_of(connection, stranger)) == 1


def test_the_cluster_s_own_schedules_are_created_once_and_keep_what_an_operator_changed(
    connection: Connection[Any],
) -> None:
    create_system_schedules(connection)
    connection.execute("UPDATE schedules SET enabled = false WHERE id = 'sched_expire'")
    create_system_schedules(connection)
    found = {schedule.id: schedule for schedule in get_schedules(connection, "system")}
    assert {id: found[id].kind for id, _, _ in SYSTEM_SCHEDULES} == {
        id: kind.name for id, kind, _ in SYSTEM_SCHEDULES
    }
    assert not found["sched_expire"].enabled
    assert all(isinstance(KINDS[schedule.kind], JobKind) for schedule in found.values())
    connection.rollback()
