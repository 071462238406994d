"""A schedule gives one job for each of its times, in any number of processes, whatever the clock does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database.paging import PageRequest
from cluster.errors import Conflict, NotFound, Unavailable
from cluster.jobs import attempts
from cluster.jobs.jobs import SYSTEM, Job, JobState, PriorityClass
from cluster.jobs.kinds import KINDS
from cluster.jobs.schedules.cron import Timing
from cluster.jobs.schedules.due import DueJob, run_now, submit_as_it_is, submit_due
from cluster.jobs.schedules.runs import ScheduleRun, list_runs
from cluster.jobs.schedules.schedules import (
    CatchUp,
    Schedule,
    ScheduleOptions,
    create_schedule,
    get_schedule,
    get_schedules,
    schedule_lag,
    update_schedule,
)
from cluster.jobs.schedules.system_schedules import SYSTEM_SCHEDULES, create_system_schedules
from cluster.secrets import open_cipher
from cluster.webhooks.endpoints import NewEndpoint, create_endpoint
from tests.cluster.jobs.turns import TEST, begin, jobs_of
from tests.conftest import new_organisation
from tests.keys_in_output import marked_fernet_key

MINUTE = timedelta(minutes=1)
#: No schedule of the cluster itself is due at this time.
THEN = datetime(2020, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def alone(pool: ConnectionPool) -> Iterator[None]:
    """No schedule of one test is due in another."""
    yield
    with pool.connection() as connection:
        connection.execute("DELETE FROM schedules WHERE kind = %s", [TEST.name])


def make(
    connection: Connection[Any],
    organisation: str,
    *,
    first: datetime = THEN,
    cron: str = "* * * * *",
    all_organisations: bool = False,
    **options: Any,
) -> Schedule:
    """A schedule whose first time is in the past."""
    made = create_schedule(
        connection,
        organisation,
        TEST,
        Timing(cron=cron),
        {"day": 1},
        options=ScheduleOptions(**options),
        all_organisations=all_organisations,
    )
    assert made is not None
    connection.execute(
        "UPDATE schedules SET next_run_at = %s WHERE organisation = %s AND id = %s",
        [first, organisation, made.id],
    )
    return get_schedule(connection, organisation, made.id)


def again(connection: Connection[Any], schedule: Schedule) -> Schedule:
    return get_schedule(connection, schedule.organisation, schedule.id)


def runs(connection: Connection[Any], schedule: Schedule) -> list[ScheduleRun]:
    """The runs of the schedule, the earliest first."""
    page = PageRequest(limit=1_000, newest_first=False)
    return list_runs(connection, schedule.organisation, schedule.id, page).items


def times(connection: Connection[Any], schedule: Schedule) -> list[int]:
    """The minutes after ``THEN`` of the times that have a run."""
    return [(run.scheduled_for - THEN) // MINUTE for run in runs(connection, schedule)]


def test_a_due_schedule_gives_a_job_that_knows_its_time(
    connection: Connection[Any], organisation: str
) -> None:
    schedule = make(connection, organisation, priority=7)
    (job,) = submit_due(connection, now=THEN + timedelta(seconds=5))
    assert (job.kind, job.state, job.input, job.priority_class, job.priority) == (
        TEST.name,
        JobState.QUEUED,
        {"day": 1},
        PriorityClass.SCHEDULED,
        7,
    )
    assert (job.schedule, job.scheduled_for) == (schedule.id, THEN)
    after = again(connection, schedule)
    assert (after.last_run_at, after.last_job, after.next_run_at) == (THEN, job.id, THEN + MINUTE)
    assert submit_due(connection, now=THEN + timedelta(seconds=6)) == []


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [(CatchUp.ALL, [0, 1, 2, 3, 4, 5, 6]), (CatchUp.LATEST, [6]), (CatchUp.NONE, [6])],
)
def test_times_that_were_missed_are_made_up_as_the_schedule_says(
    connection: Connection[Any], organisation: str, catch_up: CatchUp, expected: list[int]
) -> None:
    schedule = make(connection, organisation, catch_up=catch_up)
    submit_due(connection, now=THEN + 6.5 * MINUTE)
    submit_due(connection, now=THEN + 6.6 * MINUTE)
    assert times(connection, schedule) == expected
    missed_from = [run.missed_from for run in runs(connection, schedule)]
    assert missed_from == [None] * 7 if catch_up == CatchUp.ALL else [THEN]
    assert again(connection, schedule).next_run_at == THEN + 7 * MINUTE


def test_without_catching_up_a_late_time_gets_no_job(connection: Connection[Any], organisation: str) -> None:
    schedule = make(connection, organisation, cron="0 * * * *", catch_up=CatchUp.NONE)
    submit_due(connection, now=THEN + 2 * MINUTE)
    assert times(connection, schedule) == []
    assert again(connection, schedule).next_run_at == THEN + 60 * MINUTE


def test_at_most_catch_up_limit_times_are_made_up_at_once_and_none_is_lost(
    connection: Connection[Any], organisation: str
) -> None:
    schedule = make(connection, organisation, catch_up_limit=3)
    made = [len(submit_due(connection, now=THEN + 7 * MINUTE)) for _ in range(4)]
    assert made == [3, 3, 2, 0]
    assert times(connection, schedule) == list(range(8))


def test_a_clock_that_jumps_gives_no_time_twice_and_loses_none(
    connection: Connection[Any], organisation: str
) -> None:
    schedule = make(connection, organisation)
    for minutes in (0, 1, 40, 2, 3, 39, 40, 41, 38, 42):
        submit_due(connection, now=THEN + minutes * MINUTE)
    assert times(connection, schedule) == list(range(43))


def test_a_schedule_of_all_organisations_gives_each_one_job(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a transaction that has room for two jobs, the next calls find the organisations that are left."""
    monkeypatch.setattr("cluster.jobs.schedules.due.JOBS_LIMIT", 2)
    others = {new_organisation(pool) for _ in range(3)}
    with connection.transaction(force_rollback=True):
        # the organisations of other tests are not asked
        connection.execute(
            "CREATE TEMPORARY TABLE organisations ON COMMIT DROP AS"
            " SELECT * FROM public.organisations WHERE id = ANY(%s)",
            [[organisation, *others]],
        )
        schedule = make(connection, organisation, all_organisations=True, catch_up=CatchUp.ALL)
        made = [submit_due(connection, now=THEN) for _ in range(3)]
        assert [len(jobs) for jobs in made] == [2, 1, 0]
        assert {job.organisation for jobs in made for job in jobs} == others
        assert again(connection, schedule).next_run_at == THEN + MINUTE
        assert len(run_now(connection, schedule, accept=submit_as_it_is)) == 3


def test_many_processes_submit_one_job_for_one_time(pool: ConnectionPool, organisation: str) -> None:
    def submit() -> list[Job]:
        with pool.connection() as connection:
            return submit_due(connection, now=THEN)

    with pool.connection() as connection:
        schedule = make(connection, organisation)
    with ThreadPoolExecutor(4) as threads:
        found = [job for each in threads.map(lambda _: submit(), range(8)) for job in each]
    assert len(found) == 1
    with pool.connection() as connection:  # the same time again, as after a restored backup
        connection.execute("UPDATE schedules SET next_run_at = %s WHERE id = %s", [THEN, schedule.id])
        assert submit_due(connection, now=THEN) == []
        with pytest.raises(psycopg.errors.UniqueViolation):  # the database refuses a second run
            connection.execute(
                "INSERT INTO schedule_runs (organisation, schedule, scheduled_for, job_organisation, id)"
                " SELECT organisation, schedule, scheduled_for, job_organisation, 'run_2'"
                " FROM schedule_runs WHERE schedule = %s",
                [schedule.id],
            )


def test_a_process_skips_schedules_that_another_one_works_on(
    pool: ConnectionPool, organisation: str, stranger: str
) -> None:
    with pool.connection() as first, pool.connection() as second:
        make(first, organisation)
        make(first, stranger)
        first.commit()
        (mine,) = submit_due(first, now=THEN, limit=1)
        second.execute("SET LOCAL lock_timeout = '2s'")
        (other,) = submit_due(second, now=THEN)
        assert {mine.organisation, other.organisation} == {organisation, stranger}


def told(connection: Connection[Any], organisation: str) -> list[tuple[str, str]]:
    """Type and subject of each webhook event of the organisation."""
    return connection.execute(
        "SELECT type, data ->> 'id' FROM webhook_events WHERE organisation = %s", [organisation]
    ).fetchall()


@pytest.fixture
def subscribed(connection: Connection[Any], organisation: str) -> Iterator[None]:
    """The organisation has an endpoint for events about schedules."""
    new = NewEndpoint(url="https://hooks.example/", event_types=["schedule.failed", "schedule.disabled"])
    with connection.transaction():
        create_endpoint(connection, open_cipher(SecretStr(marked_fernet_key())), organisation, new, limit=1)
    yield
    connection.execute("DELETE FROM webhook_endpoints WHERE organisation = %s", [organisation])


def test_a_refused_job_is_a_failed_run_and_delays_no_other(
    connection: Connection[Any], organisation: str, stranger: str, subscribed: None
) -> None:
    def accept(connection: Connection[Any], due: DueJob) -> Job:
        if due.organisation == organisation:
            connection.execute("UPDATE jobs SET kind = 'x' WHERE organisation = %s", [organisation])
            raise faults.pop()
        return submit_as_it_is(connection, due)

    faults: list[Exception] = [KeyError("broken"), NotFound("no store"), Unavailable("database lost")]
    schedule, other = make(connection, organisation), make(connection, stranger)
    with pytest.raises(Unavailable), connection.transaction():
        submit_due(connection, accept=accept, now=THEN)
    for minutes in (0, 1):
        submit_due(connection, accept=accept, now=THEN + minutes * MINUTE)
    assert [(run.state, run.error, run.error_code) for run in runs(connection, schedule)] == [
        (JobState.FAILED, "no store", "refused"),
        (JobState.FAILED, "KeyError: 'broken'", "internal_error"),
    ]
    assert [run.job is not None for run in runs(connection, other)] == [True, True]
    assert told(connection, organisation) == [("schedule.failed", schedule.id)] * 2


def test_a_paused_or_invalid_schedule_submits_nothing_and_delays_no_other(
    connection: Connection[Any], organisation: str, stranger: str, subscribed: None
) -> None:
    paused, invalid = make(connection, organisation, enabled=False), make(connection, organisation)
    connection.execute("UPDATE schedules SET cron = 'nonsense' WHERE id = %s", [invalid.id])
    make(connection, stranger)
    submit_due(connection, now=THEN)
    assert jobs_of(connection, organisation) == []
    after = again(connection, invalid)
    assert told(connection, organisation) == [("schedule.disabled", invalid.id)]
    assert (after.enabled, "five fields" in (after.disabled_because or "")) == (False, True)
    assert again(connection, paused).disabled_because is None
    assert len(jobs_of(connection, stranger)) == 1


def test_a_deleted_organisation_gets_no_job_and_delays_no_other(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    make(connection, organisation)
    make(connection, stranger)
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE organisations SET deleted_at = now() WHERE id = %s", [organisation])
        assert [job.organisation for job in submit_due(connection, now=THEN)] == [stranger]


def test_times_that_passed_while_a_schedule_was_paused_are_not_made_up(
    connection: Connection[Any], organisation: str
) -> None:
    schedule = make(connection, organisation, enabled=False)
    resumed = update_schedule(connection, schedule, options=ScheduleOptions())
    assert timedelta() < resumed.next_run_at - datetime.now(UTC) <= MINUTE
    renamed = update_schedule(connection, schedule, options=ScheduleOptions(enabled=False, name="a"))
    assert (renamed.next_run_at, renamed.name) == (THEN, "a")


def test_the_history_shows_the_end_of_each_job(connection: Connection[Any], organisation: str) -> None:
    schedule = make(connection, organisation)
    submit_due(connection, now=THEN)
    job = begin(connection, organisation)
    (run,) = runs(connection, schedule)
    assert (run.state, run.duration_s, run.result) == (JobState.RUNNING, None, None)
    attempts.finish(connection, job, result={"rows": 3})
    (by_hand,) = run_now(connection, schedule, accept=submit_as_it_is)
    first, second = runs(connection, schedule)
    assert (first.state, first.result, first.by_hand) == (JobState.SUCCEEDED, {"rows": 3}, False)
    assert first.duration_s is not None
    assert (second, second.by_hand, second.schedule) == (by_hand, True, schedule.id)
    assert again(connection, schedule).next_run_at == THEN + MINUTE


def test_a_job_that_a_person_starts_is_refused_with_its_error(
    connection: Connection[Any], organisation: str
) -> None:
    def accept(connection: Connection[Any], due: DueJob) -> Job:
        raise Conflict("the store has expired")

    schedule = make(connection, organisation)
    with pytest.raises(Conflict, match="expired"), connection.transaction():
        run_now(connection, schedule, accept=accept)
    assert runs(connection, schedule) == []


def test_the_lag_is_that_of_the_most_overdue_schedule(connection: Connection[Any], organisation: str) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE schedules SET enabled = false")
        assert schedule_lag(connection) == 0
        make(connection, organisation, first=datetime.now(UTC) - timedelta(seconds=90))
        make(connection, organisation, first=datetime.now(UTC) - timedelta(seconds=30))
        assert 89 < schedule_lag(connection) < 100


def test_the_cluster_s_own_schedules_are_created_once_and_keep_what_an_operator_changed(
    connection: Connection[Any],
) -> None:
    with connection.transaction(force_rollback=True):
        create_system_schedules(connection)
        connection.execute("UPDATE schedules SET enabled = false WHERE id = 'sched_expire'")
        create_system_schedules(connection)
        found = {schedule.id: schedule for schedule in get_schedules(connection, SYSTEM)}
        declared = {one.id: (one.kind.name, one.cron) for one in SYSTEM_SCHEDULES}
        assert {id: (found[id].kind, found[id].cron) for id in declared} == declared
        assert not found["sched_expire"].enabled
        assert all(schedule.kind in KINDS for schedule in found.values())
