"""A job says how far it got and ends once, whoever reports late."""

from typing import Any

import pytest
from psycopg import Connection

from cluster.errors import NotFound
from cluster.jobs import jobs
from cluster.jobs.jobs import JobState


def test_a_job_runs_reports_and_ends_with_its_result(connection: Connection[Any], organisation: str) -> None:
    job = jobs.start_job(
        connection, organisation, "ingest", input={"location": "docs/"}, total=20, lease_s=30
    )
    assert job.id.startswith("job_")
    assert (job.state, job.done, job.total, job.finished_at) == (JobState.RUNNING, 0, 20, None)
    jobs.record_progress(connection, organisation, job.id, 7)
    assert jobs.get_job(connection, organisation, job.id).done == 7
    jobs.finish_job(connection, organisation, job.id, JobState.SUCCEEDED, result={"chunks": 3})
    ended = jobs.get_job(connection, organisation, job.id)
    assert (ended.state, ended.result, ended.error, ended.input) == (
        JobState.SUCCEEDED,
        {"chunks": 3},
        None,
        {"location": "docs/"},
    )
    assert ended.finished_at is not None


def test_an_ended_job_stays_as_it_ended(connection: Connection[Any], organisation: str) -> None:
    job = jobs.start_job(connection, organisation, "ingest", input={}, lease_s=30)
    jobs.finish_job(connection, organisation, job.id, JobState.FAILED, error="the disk is full")
    ended = jobs.get_job(connection, organisation, job.id)
    jobs.finish_job(connection, organisation, job.id, JobState.SUCCEEDED, result={})
    jobs.record_progress(connection, organisation, job.id, 99)
    assert jobs.get_job(connection, organisation, job.id) == ended


def test_recent_jobs_come_newest_first(connection: Connection[Any], organisation: str) -> None:
    ids = [jobs.start_job(connection, organisation, "ingest", input={}, lease_s=30).id for _ in range(3)]
    assert [job.id for job in jobs.recent_jobs(connection, organisation, limit=2)] == ids[:0:-1]


def test_another_organisation_neither_sees_nor_ends_the_job(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    job = jobs.start_job(connection, organisation, "ingest", input={}, lease_s=30)
    jobs.record_progress(connection, stranger, job.id, 5)
    jobs.finish_job(connection, stranger, job.id, JobState.CANCELLED)
    assert jobs.recent_jobs(connection, stranger) == []
    with pytest.raises(NotFound, match=job.id):
        jobs.get_job(connection, stranger, job.id)
    assert jobs.get_job(connection, organisation, job.id) == job
