"""The rescue queues the jobs of dead workers again while attempts remain, and changes no other job. A dead
worker that wakes can write nothing.
"""

from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.errors import Conflict, LeaseLost
from cluster.jobs import attempts, queue
from cluster.jobs.jobs import Job, JobState, get_job
from cluster.jobs.kinds import INGEST
from cluster.jobs.queue import JobRequest
from cluster.jobs.rescue import rescue, rescue_commands
from tests.cluster.jobs.turns import TEST, begin, register, take

LEASE_S = 30.0


def die(connection: Connection[Any], worker: int) -> None:
    """No heartbeat for longer than the lease."""
    connection.execute(
        "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s' WHERE id = %s", [worker]
    )


def begin_command(connection: Connection[Any], organisation: str) -> Job:
    return attempts.begin_command(
        connection, organisation, JobRequest(kind=INGEST, input={}), worker="host-1"
    )


def silence(connection: Connection[Any], job: Job) -> None:
    """The process of the job sent its last heartbeat before the lease."""
    row = connection.execute("SELECT worker_id FROM procrastinate_jobs WHERE id = %s", [job.entry]).fetchone()
    assert row is not None
    die(connection, row[0])


def rescued(connection: Connection[Any], job: Job) -> Job:
    """The job after a round."""
    rescue(connection, lease_s=LEASE_S)
    return get_job(connection, job.organisation, job.id)


def test_a_dead_worker_s_job_is_tried_again_and_the_dead_can_write_nothing(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        queue.submit(connection, organisation, TEST, {})
        worker = register(connection)
        job = begin(connection, organisation, worker=worker)
        assert rescued(connection, job).state == JobState.RUNNING  # it lives
        die(connection, worker)
        again = rescued(connection, job)
        assert (again.state, again.attempt) == (JobState.QUEUED, 2)
        assert "sent no heartbeat for 30 s" in (again.error or "")
        with pytest.raises(LeaseLost):
            attempts.finish(connection, job, result={})
        assert begin(connection, organisation).attempt == 2
        assert take(connection, organisation) is None  # one turn was given back, not two


def test_a_job_that_kills_its_workers_is_a_dead_letter_after_its_tries_and_takes_nobody_with_it(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        poison = queue.submit(connection, organisation, TEST, {}, priority=9)
        innocent = queue.submit(connection, organisation, TEST, {})
        for _ in range(poison.last_attempt):
            worker = register(connection)
            held = begin(connection, organisation, worker=worker)
            assert held.id == poison.id
            die(connection, worker)
            poison = rescued(connection, held)
        assert (poison.state, poison.error_code) == (JobState.FAILED, "worker_lost")
        assert "attempt 3 of 3" in (poison.error or "")
        assert begin(connection, organisation).id == innocent.id
        assert get_job(connection, organisation, innocent.id).attempt == 1


def test_a_worker_that_died_before_it_began_a_job_gives_the_turn_back(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        job = queue.submit(connection, organisation, TEST, {})
        worker = register(connection)
        assert take(connection, organisation, worker=worker) is not None
        die(connection, worker)
        assert rescued(connection, job).attempt == 1
        assert begin(connection, organisation).id == job.id


def test_a_worker_that_was_stopped_begins_nothing_on_a_turn_it_has_lost(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        job = queue.submit(connection, organisation, TEST, {})
        worker = register(connection)
        turn = take(connection, organisation, worker=worker)
        assert turn is not None
        die(connection, worker)
        rescued(connection, job)
        assert attempts.claim(connection, turn, worker="w", kinds=["test"]) is None
        assert begin(connection, organisation).attempt == 1


def test_a_worker_that_was_stopped_begins_with_a_whole_lease(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        queue.submit(connection, organisation, TEST, {})
        worker = register(connection)
        die(connection, worker)
        job = begin(connection, organisation, worker=worker)
        assert rescued(connection, job) == job


def test_a_worker_that_signed_off_while_it_held_a_job_counts_as_dead(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        queue.submit(connection, organisation, TEST, {})
        worker = register(connection)
        job = begin(connection, organisation, worker=worker)
        connection.execute("SELECT procrastinate_unregister_worker_v1(%s)", [worker])
        assert rescued(connection, job).state == JobState.QUEUED


def test_a_job_to_be_cancelled_whose_worker_died_is_cancelled(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        queue.submit(connection, organisation, TEST, {})
        worker = register(connection)
        job = begin(connection, organisation, worker=worker)
        assert queue.cancel(connection, organisation, job.id).state == JobState.RUNNING
        die(connection, worker)
        assert rescued(connection, job).state == JobState.CANCELLED


def test_a_job_that_waits_without_a_turn_gets_one(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        job = queue.submit(connection, organisation, TEST, {})
        connection.execute("DELETE FROM procrastinate_jobs WHERE id = %s", [job.entry])
        assert take(connection, organisation) is None
        rescued(connection, job)
        rescued(connection, job)
        assert begin(connection, organisation).id == job.id
        assert take(connection, organisation) is None


def test_a_command_s_job_ends_when_its_process_is_silent_and_as_the_process_says_when_it_was_not_dead(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        job = begin_command(connection, organisation)
        assert rescued(connection, job).state == JobState.RUNNING
        silence(connection, job)
        lost = rescued(connection, job)
        assert (lost.state, lost.error_code) == (JobState.FAILED, "worker_lost")
        assert "run the command again" in (lost.error or "")
        with pytest.raises(Conflict, match="run the command again"):
            queue.replay(connection, organisation, job.id)
        with pytest.raises(LeaseLost), connection.transaction():
            attempts.finish(connection, job, result={})
        again = attempts.begin_command_again(connection, job)
        assert (again.attempt, again.last_attempt) == (2, 2)
        with pytest.raises(LeaseLost), connection.transaction():
            attempts.begin_command_again(connection, job)
        attempts.finish(connection, again, result={})
        ended = get_job(connection, organisation, job.id)
        assert (ended.state, ended.error, ended.error_code) == (JobState.SUCCEEDED, None, None)


@pytest.mark.parametrize("give_up", ["give_back", "retry_later"])
def test_a_job_to_be_cancelled_is_not_tried_again_by_who_gives_it_up(
    pool: ConnectionPool, organisation: str, give_up: str
) -> None:
    with pool.connection() as connection:
        queue.submit(connection, organisation, TEST, {})
        job = begin(connection, organisation)
        queue.cancel(connection, organisation, job.id)
        if give_up == "give_back":
            attempts.give_back(connection, job)
        else:
            attempts.retry_later(connection, job, run_at=None, error="slow", code="slow")
        assert get_job(connection, organisation, job.id).state == JobState.CANCELLED


def test_a_worker_can_leave_a_job_that_outlived_another_to_later(
    pool: ConnectionPool, organisation: str
) -> None:
    with pool.connection() as connection:
        suspect = queue.submit(connection, organisation, TEST, {}, priority=9)
        worker = register(connection)
        held = begin(connection, organisation, worker=worker)
        assert not attempts.is_suspect(connection, held)
        die(connection, worker)
        rescued(connection, held)
        fresh = queue.submit(connection, organisation, TEST, {})
        found = []
        for _ in range(2):
            turn = take(connection, organisation)
            assert turn is not None
            assert attempts.has_suspects(connection, turn, kinds=["test"])
            found.append(attempts.claim(connection, turn, worker="w", kinds=["test"], suspects=False))
        assert [job and job.id for job in found] == [fresh.id, None]
        queue.add_turns(connection, organisation, suspect.priority_class)
        again = begin(connection, organisation)
        assert again.id == suspect.id
        assert attempts.is_suspect(connection, again)


def test_the_chore_of_a_dead_worker_does_not_stay_in_the_queue(pool: ConnectionPool) -> None:
    with pool.connection() as connection:
        worker = register(connection)
        row = connection.execute(
            "INSERT INTO procrastinate_jobs (task_name, queue_name, status, worker_id)"
            " VALUES ('chore:x', 'scheduled', 'doing', %s) RETURNING id",
            [worker],
        ).fetchone()
        assert row is not None
        rescue(connection, lease_s=LEASE_S)
        die(connection, worker)
        rescue(connection, lease_s=LEASE_S)
        assert connection.execute(
            "SELECT status::text FROM procrastinate_jobs WHERE id = %s", row
        ).fetchone() == ("failed",)
        connection.rollback()


def test_after_a_time_when_nobody_could_write_workers_have_a_lease_to_come_back(
    pool: ConnectionPool, organisation: str
) -> None:
    def rescued_patiently(job: Job, *, last_round_s: float, patience_s: float | None = None) -> JobState:
        """The job's state after a round, the last one before it so long ago."""
        connection.execute(
            "UPDATE rescue_rounds SET last_at = now() - make_interval(secs => %s)", [last_round_s]
        )
        if patience_s is not None:
            connection.execute(
                "UPDATE rescue_rounds SET patient_until = now() + make_interval(secs => %s)", [patience_s]
            )
        rescue(connection, lease_s=LEASE_S, patient=True)
        return get_job(connection, organisation, job.id).state

    with pool.connection() as connection:
        queue.submit(connection, organisation, TEST, {})
        worker = register(connection)
        job = begin(connection, organisation, worker=worker)
        die(connection, worker)  # its heartbeats could not be written
        assert rescued_patiently(job, last_round_s=0.76 * LEASE_S, patience_s=-1) == JobState.RUNNING
        assert rescued_patiently(job, last_round_s=5) == JobState.RUNNING
        row = connection.execute(
            "SELECT extract(epoch FROM patient_until - now())::float8 FROM rescue_rounds"
        ).fetchone()
        assert row == (pytest.approx(LEASE_S),)
        assert (
            rescued_patiently(job, last_round_s=5, patience_s=-1) == JobState.QUEUED
        )  # it did not come back


def test_a_command_gives_back_no_worker_s_jobs(pool: ConnectionPool, organisation: str) -> None:
    with pool.connection() as connection:
        queue.submit(connection, organisation, TEST, {})
        worker = register(connection)
        job = begin(connection, organisation, worker=worker)
        die(connection, worker)
        silent = begin_command(connection, organisation)
        silence(connection, silent)
        assert [
            ended.id
            for ended in rescue_commands(connection, lease_s=LEASE_S)
            if ended.organisation == organisation
        ] == [silent.id]
        assert get_job(connection, organisation, job.id).state == JobState.RUNNING
