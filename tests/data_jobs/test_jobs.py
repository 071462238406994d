"""``python -m data_jobs.jobs``: an operator lists, cancels and retries jobs, one by one or in bulk."""

from typing import Any

import pytest
from psycopg import Connection

from cluster.jobs import queue
from cluster.jobs.jobs import JobState, get_job
from cluster.jobs.kinds import DELETE_STORE, INDEX_FILE, INGEST
from cluster.jobs.kinds.job_kind import JobKind
from data_jobs.jobs import main
from tests.data_jobs.test_schedules import Command, command  # noqa: F401  a fixture


@pytest.fixture
def jobs(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:  # noqa: F811
    """The command, for the organisation of the test."""
    monkeypatch.setattr("tests.data_jobs.test_schedules.main", main)
    return command


def submitted(connection: Connection[Any], organisation: str, kind: JobKind, state: str = "queued") -> str:
    id = queue.submit(connection, organisation, kind, {}).id
    connection.execute("UPDATE jobs SET state = %s WHERE id = %s", [state, id])
    return id


def test_jobs_are_chosen_by_their_properties(
    jobs: Command, connection: Connection[Any], organisation: str
) -> None:
    waiting = [submitted(connection, organisation, INDEX_FILE) for _ in range(3)]
    other = submitted(connection, organisation, DELETE_STORE)
    failed = submitted(connection, organisation, INDEX_FILE, "failed")

    listed = [job["id"] for job in jobs.read("list", "--state", "queued", "--kind", "index_file")]
    assert sorted(listed) == sorted(waiting)
    assert len(jobs.read("list", "--limit", "2")) == 2
    assert "3 jobs cancelled, 0 not" in jobs("cancel", "--kind", "index_file")
    assert "1 jobs queued again, 0 not" in jobs("retry", "--kind", "index_file")
    states = {id: get_job(connection, organisation, id).state for id in (*waiting, other, failed)}
    assert states == dict.fromkeys(waiting, JobState.CANCELLED) | {
        other: JobState.QUEUED,
        failed: JobState.QUEUED,
    }


def test_a_job_that_cannot_be_changed_is_named_and_the_others_are_changed(
    jobs: Command, connection: Connection[Any], organisation: str
) -> None:
    ingest, failed = (submitted(connection, organisation, kind, "failed") for kind in (INGEST, INDEX_FILE))

    assert ingest in jobs("retry", ingest, "job_none", failed, code=1)
    assert get_job(connection, organisation, failed).state == JobState.QUEUED


def test_no_job_changes_without_a_choice(jobs: Command) -> None:
    assert "give ids" in jobs("cancel", code=1)
    assert "not both" in jobs("cancel", "job_1", "--state", "queued", code=1)
