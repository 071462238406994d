"""The queue: what is accepted waits its turn, fairly between organisations, in order of priority within one;
ends are final.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.errors import Conflict, InvalidInput, LeaseLost, NotFound
from cluster.jobs import attempts, progress, queue
from cluster.jobs.jobs import Job, JobState, PriorityClass, get_job
from cluster.jobs.kinds.job_kind import JobKind
from tests.cluster.jobs.turns import TEST, begin, take

MEDIUM = PriorityClass.MEDIUM


def submit(connection: Connection[Any], organisation: str, name: str = "", **options: Any) -> Job:
    """A job that remembers what a test calls it."""
    return queue.submit(connection, organisation, TEST, {"name": name}, **options)


def test_what_was_not_committed_was_not_accepted(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        job = submit(connection, organisation)
        connection.rollback()
        with pytest.raises(NotFound):
            get_job(connection, organisation, job.id)
        assert take(connection, organisation) is None


def test_within_an_organisation_priority_comes_first_and_then_age(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        for name, priority in (("a", 5), ("b", 5), ("urgent", 9), ("whenever", 0)):
            submit(connection, organisation, name, priority=priority)
            connection.commit()
        assert [begin(connection, organisation).input["name"] for _ in range(4)] == [
            "urgent",
            "a",
            "b",
            "whenever",
        ]


def test_ten_thousand_jobs_of_one_organisation_stand_behind_the_single_one_of_another(
    pool: ConnectionPool, organisation: str, stranger: str
) -> None:
    with pool.connection() as connection:
        connection.execute(
            "DELETE FROM procrastinate_jobs WHERE status = 'todo'"
        )  # of other tests, until the end of this one
        for count in (1_000, 9_000):
            queue.submit_many(connection, organisation, [queue.JobRequest(kind=TEST, input={})] * count)
            connection.execute(
                "ANALYZE"
            )  # as autovacuum does: planned for tables of a few rows, foreign keys read all of them
        begin(connection, organisation)
        single = submit(connection, stranger, priority=0)
        following = take(connection, organisation, stranger)
        if following is not None and following.organisation == organisation:
            following = take(connection, organisation, stranger)
        assert following is not None
        assert following.organisation == stranger
        assert attempts.claim(connection, following, worker="w", kinds=["test"]) is not None
        assert get_job(connection, stranger, single.id).state == JobState.RUNNING
        connection.rollback()


def test_higher_classes_go_first_where_slots_are_shared(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        for priority_class in (
            PriorityClass.LOW,
            PriorityClass.SCHEDULED,
            PriorityClass.MEDIUM,
            PriorityClass.HIGH,
        ):
            submit(connection, organisation, priority_class=priority_class)
        order = [turn.priority_class for turn in (take(connection, organisation) for _ in range(4)) if turn]
        assert order == [PriorityClass.HIGH, PriorityClass.MEDIUM, PriorityClass.SCHEDULED, PriorityClass.LOW]


def test_an_organisation_with_a_cap_runs_no_more_at_once(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        connection.execute("UPDATE organisations SET concurrency_limit = 2 WHERE id = %s", [organisation])
        for _ in range(4):
            submit(connection, organisation)
        assert [take(connection, organisation) is None for _ in range(3)] == [False, False, True]


def test_the_cap_counts_turns_whose_time_has_come(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        connection.execute("UPDATE organisations SET concurrency_limit = 1 WHERE id = %s", [organisation])
        for _ in range(3):
            submit(connection, organisation, run_at=datetime.now(UTC) - timedelta(seconds=1))
        for _ in range(3):
            turn = take(connection, organisation)
            assert turn is not None
            assert attempts.return_to_line(connection, turn)
        first = take(connection, organisation)
        assert first is not None
        assert not attempts.return_to_line(connection, first)
        assert attempts.claim(connection, first, worker="w", kinds=["test"]) is not None
        assert take(connection, organisation) is None


def test_a_job_of_a_later_hour_waits_and_holds_nobody_up(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        submit(connection, organisation, "later", run_at=datetime.now(UTC) + timedelta(hours=1), priority=9)
        submit(connection, organisation, "now")
        assert begin(connection, organisation).input == {"name": "now"}
        assert take(connection, organisation) is None


def test_a_cancelled_job_that_waits_never_begins(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        job = submit(connection, organisation)
        assert queue.cancel(connection, organisation, job.id).state == JobState.CANCELLED
        assert queue.cancel(connection, organisation, job.id).state == JobState.CANCELLED
        turn = take(connection, organisation)
        assert turn is not None
        assert attempts.claim(connection, turn, worker="w", kinds=["test"]) is None


def test_a_dead_letter_is_tried_again_under_its_id_with_fresh_tries(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        job = submit(connection, organisation, "x")
        with pytest.raises(Conflict, match="queued"):
            queue.replay(connection, organisation, job.id)
        attempts.fail(connection, begin(connection, organisation), "no such luck", code="unlucky")
        failed = get_job(connection, organisation, job.id)
        assert (failed.state, failed.error, failed.error_code) == (JobState.FAILED, "no such luck", "unlucky")
        replayed = queue.replay(connection, organisation, job.id)
        assert (replayed.state, replayed.attempt, replayed.last_attempt, replayed.error) == (
            JobState.QUEUED,
            2,
            4,
            None,
        )
        again = begin(connection, organisation)
        assert (again.id, again.input) == (job.id, {"name": "x"})
        assert attempts.finish(connection, again, result={"done": 1}).state == JobState.SUCCEEDED
        with pytest.raises(Conflict, match="succeeded"):
            queue.replay(connection, organisation, job.id)


def test_a_try_that_counts_no_more_can_write_nothing(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        submit(connection, organisation)
        stale = begin(connection, organisation)
        attempts.retry_later(connection, stale, run_at=None, error="slow", code="slow")
        fresh = begin(connection, organisation)
        assert (fresh.id, fresh.attempt) == (stale.id, 2)
        connection.commit()
        for write in (
            lambda: progress.begin_stage(connection, stale, "write"),
            lambda: progress.record_progress(connection, stale, done=1, total=2),
            lambda: attempts.finish(connection, stale, result={}),
            lambda: attempts.fail(connection, stale, "x", code="x"),
            lambda: attempts.give_back(connection, stale),
        ):
            with pytest.raises(LeaseLost):
                write()
            connection.rollback()
        assert attempts.finish(connection, fresh, result={}).state == JobState.SUCCEEDED


def test_a_worker_leaves_kinds_it_does_not_know_to_others(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        queue.submit(connection, organisation, JobKind(name="of_the_next_release"), {})
        turn = take(connection, organisation)
        assert turn is not None
        assert attempts.claim(connection, turn, worker="w", kinds=["test"]) is None
        assert attempts.has_unknown_kinds(connection, turn, kinds=["test"])


def test_nobody_touches_the_job_of_another_organisation(
    pool: ConnectionPool, organisation: str, stranger: str
) -> None:
    with pool.connection() as connection:
        job = submit(connection, organisation)
        for touch in (queue.cancel, queue.replay, get_job):
            with pytest.raises(NotFound):
                touch(connection, stranger, job.id)


@pytest.mark.parametrize("priority", [-1, 10])
def test_a_priority_outside_its_range_is_refused(
    pool: ConnectionPool, organisation: str, priority: int
) -> None:
    with pool.connection() as connection, pytest.raises(InvalidInput, match=r"0\.\.9"):
        submit(connection, organisation, priority=priority)
