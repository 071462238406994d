"""Take turns as a worker does: by Procrastinate's own query, on the test's connection."""

from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.paging import PageRequest
from cluster.jobs import attempts
from cluster.jobs.jobs import Job
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.queue_tables import priority_class_of
from cluster.jobs.view import JobFilter, list_jobs

#: A kind of job that exists in tests only.
TEST = JobKind(name="test")


def jobs_of(connection: Connection[Any], organisation: str) -> list[Job]:
    """The organisation's jobs, newest first."""
    return list_jobs(connection, organisation, JobFilter(), PageRequest(limit=1_000)).items


def register(connection: Connection[Any]) -> int:
    """A worker with a heartbeat of now."""
    row = connection.execute(
        "SELECT worker_id FROM procrastinate_register_worker_v1() AS worker_id"
    ).fetchone()
    assert row is not None
    return int(row[0])


def take(connection: Connection[Any], *organisations: str, worker: int | None = None) -> attempts.Turn | None:
    """The turn that is next of those of the organisations, so that tests do not meet."""
    with connection.cursor(row_factory=dict_row) as cursor:
        held = []
        while True:
            row = cursor.execute(
                "SELECT * FROM procrastinate_fetch_job_v2(NULL, %s)", [worker or register(connection)]
            ).fetchone()
            if row is None or row["id"] is None or row["args"]["organisation"] in organisations:
                break
            held.append(row["id"])
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL WHERE id = ANY(%s)", [held]
        )
    if row is None or row["id"] is None:
        return None
    arguments = row["args"]
    return attempts.Turn(
        entry=row["id"],
        organisation=arguments["organisation"],
        priority_class=priority_class_of(row["queue_name"]),
        turn=arguments["turn"],
    )


def begin(connection: Connection[Any], organisation: str, *, worker: int | None = None) -> Job:
    """The job that the organisation's next turn begins."""
    turn = take(connection, organisation, worker=worker)
    assert turn is not None
    job = attempts.claim(connection, turn, worker="test-worker", kinds=[TEST.name])
    assert job is not None
    return job
