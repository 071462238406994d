"""A job that a command runs itself has the same lifecycle as one that a worker runs: it reports, ends once,
and has a history.
"""

from typing import Any

import pytest
from psycopg import Connection

from cluster.errors import LeaseLost, NotFound
from cluster.jobs import attempts, progress
from cluster.jobs.jobs import Job, JobState, get_job, read_backlog
from cluster.jobs.kinds import INGEST
from cluster.jobs.queue import JobRequest
from cluster.jobs.queue_tables import live_workers
from cluster.jobs.view import view_job
from tests.cluster.jobs.turns import jobs_of


def begin(connection: Connection[Any], organisation: str) -> Job:
    request = JobRequest(kind=INGEST, input={"location": "docs/"}, total=20)
    return attempts.begin_command(connection, organisation, request, worker="host-1")


def test_a_job_runs_reports_and_ends_with_its_result(connection: Connection[Any], organisation: str) -> None:
    job = begin(connection, organisation)
    assert job.id.startswith("job_")
    assert (job.state, job.done, job.total, job.finished_at) == (JobState.RUNNING, 0, 20, None)
    progress.record_progress(connection, job, done=7, total=20)
    assert get_job(connection, organisation, job.id).done == 7
    attempts.finish(connection, job, result={"chunks": 3})
    ended = get_job(connection, organisation, job.id)
    assert (ended.state, ended.result, ended.error, ended.input) == (
        JobState.SUCCEEDED,
        {"chunks": 3},
        None,
        {"location": "docs/"},
    )
    assert ended.finished_at is not None


def test_an_ended_job_stays_as_it_ended(connection: Connection[Any], organisation: str) -> None:
    job = begin(connection, organisation)
    attempts.fail(connection, job, "the disk is full", code="short")
    ended = get_job(connection, organisation, job.id)
    with pytest.raises(LeaseLost):
        attempts.finish(connection, job, result={})
    with pytest.raises(LeaseLost):
        progress.record_progress(connection, job, done=19, total=20)
    assert get_job(connection, organisation, job.id) == ended


def test_a_command_s_job_has_a_history_and_takes_no_worker_s_slot(
    connection: Connection[Any], organisation: str
) -> None:
    workers, running = live_workers(connection, lease_s=30), read_backlog(connection).running
    job = begin(connection, organisation)
    view = view_job(connection, organisation, job.id, now=job.created_at, lease_s=30)
    assert [(attempt.number, attempt.worker, attempt.outcome) for attempt in view.attempts] == [
        (1, "host-1", None)
    ]
    assert live_workers(connection, lease_s=30) == workers
    assert read_backlog(connection).running == running


def test_another_organisation_does_not_see_the_job(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    job = begin(connection, organisation)
    assert jobs_of(connection, stranger) == []
    with pytest.raises(NotFound, match=job.id):
        get_job(connection, stranger, job.id)
