"""A reader of changes returns each changed job once, also if its event is committed late."""

from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.jobs.changes import job_changes
from cluster.jobs.changes.job_changes import ChangeReader
from tests.conftest import new_organisation


def _job(connection: Connection[Any], organisation: str, id: str) -> None:
    connection.execute(
        "INSERT INTO jobs (organisation, id, kind, state, input) VALUES (%s, %s, 'none', 'queued', '{}')",
        [organisation, id],
    )


def _event(connection: Connection[Any], organisation: str, job: str) -> None:
    connection.execute(
        "INSERT INTO job_events (organisation, job, type) VALUES (%s, %s, 'progress')", [organisation, job]
    )


def test_each_change_is_read_once_also_if_it_is_committed_late(
    connection: Connection[Any],
    pool: ConnectionPool,
    database_url: str,
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = new_organisation(pool)
    for owner in (organisation, other):
        for job in ("job_a", "job_b"):
            _job(connection, owner, job)
    reader = ChangeReader()

    def changed() -> list[str]:
        return [job.id for job in reader.read(connection, [organisation])]

    assert changed() == []
    with psycopg.connect(database_url) as late:
        _event(late, organisation, "job_a")  # gets the lower id, and is committed second
        _event(connection, organisation, "job_b")
        _event(connection, other, "job_b")
        assert changed() == ["job_b"]
        late.commit()
    assert (changed(), changed()) == (["job_a"], [])
    _event(connection, organisation, "job_a")
    assert (changed(), changed()) == (["job_a"], [])
    monkeypatch.setattr(job_changes, "OVERLAP_S", 0.0)  # all events so far are older than the overlap
    changed()
    _event(connection, organisation, "job_b")
    assert (changed(), changed()) == (["job_b"], [])


def test_many_changes_of_one_organisation_hide_no_change_of_another(
    connection: Connection[Any], pool: ConnectionPool, organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_changes, "MAX_JOBS", 3)
    busy, reader = new_organisation(pool), ChangeReader()
    assert reader.read(connection, [organisation, busy]) == []
    _job(connection, organisation, "job_a")
    _event(connection, organisation, "job_a")
    for number in range(5):
        _job(connection, busy, f"job_{number}")
        _event(connection, busy, f"job_{number}")
    changed = [job.id for job in reader.read(connection, [organisation, busy])]
    assert changed == ["job_4", "job_3", "job_2", "job_a"]
