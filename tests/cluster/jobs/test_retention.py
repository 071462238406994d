"""What finished long ago is in the archive and not in the database; nothing is ever in neither, and nothing
unbilled is deleted.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.errors import Unavailable
from cluster.jobs import attempts, progress, queue
from cluster.jobs.archive import archive_file, retention
from cluster.jobs.archive.retention import Archived, archive
from cluster.jobs.jobs import Job, get_job
from cluster.organisations.idempotency import answer_once
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from cluster.usage.events import UsageEvent, UsageSource, record_usage
from tests.cluster.jobs import turns
from tests.cluster.jobs.turns import TEST
from tests.waiting import LONGEST_WAIT_S, until

OLD = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)


@pytest.fixture
def to(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with an archive of the test's own."""
    return settings.model_copy(update={"archive_url": str(tmp_path / "archive")})


@pytest.fixture(autouse=True)
def nothing_old(connection: Connection[Any]) -> Iterator[None]:
    """Retention looks at every organisation: other tests' leftovers are new."""
    yield
    connection.execute("UPDATE jobs SET finished_at = now() WHERE finished_at < now() - interval '20 days'")


def finish(
    connection: Connection[Any], organisation: str, *, at: datetime = OLD, error: str | None = None
) -> Job:
    """A job with a history that ended at that time."""
    queue.submit(connection, organisation, TEST, {"file": "ä"}, subject="file-1")
    job = turns.begin(connection, organisation)
    progress.begin_stage(connection, job, "parse")
    progress.end_stage(connection, job, "parse", error=error)
    if error:
        attempts.fail(connection, job, error, code="broken")
    else:
        event = UsageEvent(
            organisation=organisation,
            id=f"use_{job.id}",
            source=UsageSource.JOB,
            model="m",
            quantity=12,
            job=job.id,
        )
        record_usage(connection, [event])
        attempts.finish(connection, job, result={"chunks": 2})
    connection.execute("UPDATE jobs SET finished_at = %s WHERE id = %s", [at, job.id])
    return get_job(connection, organisation, job.id)


def count(connection: Connection[Any], table: str, organisation: str) -> int:
    row = connection.execute(
        f"SELECT count(*) FROM {table} WHERE organisation = %s", [organisation]
    ).fetchone()
    assert row is not None
    return int(row[0])


def archived(settings: Settings) -> list[dict[str, Any]]:
    """Every row of the archive, as any reader finds it."""
    files = ds.dataset(settings.archive_url, format="parquet", partitioning="hive")
    return files.to_table().to_pylist() if files.files else []


def test_old_jobs_move_with_all_that_is_known_of_them(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    dead, done = (
        finish(connection, organisation, error="no text"),
        finish(connection, organisation, at=OLD + timedelta(seconds=2)),
    )
    new = finish(connection, organisation, at=datetime.now(UTC) - timedelta(days=29))
    queued = queue.submit(connection, organisation, TEST, {})
    moved = archive(to, pool)
    assert (moved.jobs, len(moved.files)) == (2, 2)
    rows = {row["id"]: row for row in archived(to)}
    assert rows.keys() == {dead.id, done.id}
    kept = rows[dead.id]
    assert (str(kept["day"]), kept["organisation"], kept["state"], kept["error"]) == (
        "2026-01-31",
        organisation,
        "failed",
        "no text",
    )
    assert (json.loads(kept["input"]), kept["subject"], kept["finished_at"]) == ({"file": "ä"}, "file-1", OLD)
    assert [(one["attempt"], one["outcome"], one["error"]) for one in kept["attempts"]] == [
        (1, "failed", "no text")
    ]
    assert [(one["stage"], one["error"]) for one in kept["stages"]] == [("parse", "no text")]
    assert [one["type"] for one in kept["events"]] == ["queued", "started", "stage", "failed"]
    assert json.loads(rows[done.id]["result"]) == {"chunks": 2}
    assert str(rows[done.id]["day"]) == "2026-02-01"
    left = connection.execute("SELECT id FROM jobs WHERE organisation = %s", [organisation]).fetchall()
    assert {id for (id,) in left} == {new.id, queued.id}
    assert (
        count(connection, "job_attempts", organisation) == count(connection, "job_stages", organisation) == 1
    )


def test_what_was_used_stays_for_the_bill(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    job = finish(connection, organisation)
    assert archive(to, pool).jobs == 1
    used = connection.execute(
        "SELECT job, quantity, billed_at FROM usage_events WHERE organisation = %s", [organisation]
    ).fetchall()
    assert used == [(job.id, 12, None)]


def test_a_second_run_has_nothing_to_do(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    finish(connection, organisation)
    assert archive(to, pool).jobs == 1
    assert archive(to, pool) == Archived()
    assert len(archived(to)) == 1


def test_batches_are_bounded_and_each_counts(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    ids = {finish(connection, organisation, at=OLD - timedelta(days=n % 2, seconds=n)).id for n in range(7)}
    moved = archive(to, pool, batch=3)
    assert moved.jobs == 7
    assert len(moved.files) == 3
    assert {row["id"] for row in archived(to)} == ids
    assert len(archived(to)) == 7


@pytest.mark.parametrize("damage", ["half", "fewer"])
def test_an_archive_that_does_not_read_back_costs_nothing(
    damage: str,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    to: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk, not our code, is what breaks here: it keeps half of a file, or an older file of that name."""
    finish(connection, organisation)
    put, older = archive_file.Archive._put, []

    def broken(self: archive_file.Archive, path: str, data: bytes) -> None:
        put(self, path, data[: len(data) // 2] if damage == "half" else older[0])

    if damage == "fewer":
        finish(connection, organisation)
        (first,) = (Path(file).read_bytes() for file in archive(to, pool, batch=100).files)
        older.append(first)
        for _ in range(3):
            finish(connection, organisation)
    there = count(connection, "jobs", organisation)
    with monkeypatch.context() as patch:
        patch.setattr(archive_file.Archive, "_put", broken)
        with pytest.raises(Unavailable, match="archive"):
            archive(to, pool)
    assert count(connection, "jobs", organisation) == there
    assert archive(to, pool).jobs == there


def test_storage_that_refuses_costs_nothing(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, settings: Settings, tmp_path: Path
) -> None:
    finish(connection, organisation)
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be written"):
        archive(settings.model_copy(update={"archive_url": str(tmp_path / "file" / "archive")}), pool)
    assert count(connection, "jobs", organisation) == 1


def _archive_and_die(settings: Settings, at: str) -> None:
    """In a process of its own, which kills itself at a line of ``_move``."""
    if at == "before the commit":
        retention.SQL = {
            **retention.SQL,
            "delete_jobs": retention.SQL["delete_jobs"] + " AND pg_terminate_backend(pg_backend_pid())",
        }  # type: ignore[assignment]
    write = archive_file.Archive.write

    def dying(self: archive_file.Archive, *arguments: Any) -> str:
        path = write(self, *arguments)
        if at == "after the write":
            os.kill(os.getpid(), signal.SIGKILL)
        return path

    archive_file.Archive.write = dying  # type: ignore[method-assign]
    pool = open_pool(settings, access=OWNER)
    archive(settings, pool)


@pytest.mark.parametrize("at", ["after the write", "before the commit"])
def test_killed_on_the_way_every_job_is_somewhere_and_in_the_end_once(
    at: str, pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    ids = {finish(connection, organisation).id for _ in range(3)}
    process = multiprocessing.get_context("spawn").Process(target=_archive_and_die, args=(to, at))
    process.start()
    process.join(LONGEST_WAIT_S)
    assert process.exitcode not in (0, None)
    assert count(connection, "jobs", organisation) == 3
    assert {row["id"] for row in archived(to)} == ids
    # The backend of the dead process may hold the lock for a moment longer.
    assert until(lambda: archive(to, pool).jobs, bool) == 3
    assert sorted(row["id"] for row in archived(to)) == sorted(ids)
    assert count(connection, "jobs", organisation) == 0


def test_two_at_once_do_it_once(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    finish(connection, organisation)
    with pool.connection() as other:
        other.execute(retention.SQL["lock_of_all"])
        assert archive(to, pool).jobs == 0
    assert archive(to, pool).jobs == 1


def test_a_job_somebody_queues_again_meanwhile_stays(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    job = finish(connection, organisation, error="no text")
    with pool.connection() as other:
        queue.replay(other, organisation, job.id)
        assert archive(to, pool).jobs == 0
    assert archive(to, pool).jobs == 0
    assert get_job(connection, organisation, job.id).state == "queued"


def test_ended_entries_of_the_queue_go_and_open_ones_stay(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    finish(connection, organisation)
    open = queue.submit(connection, organisation, TEST, {})
    mine = [
        id
        for (id,) in connection.execute(
            "SELECT id FROM procrastinate_jobs WHERE args ->> 'organisation' = %s ORDER BY id", [organisation]
        )
    ]
    connection.execute("SELECT procrastinate_finish_job_v1(%s, 'succeeded', false)", [mine[0]])
    archive(to, pool)
    connection.execute(
        "UPDATE procrastinate_events SET at = now() - interval '31 days' WHERE job_id = ANY(%s)", [mine]
    )
    assert archive(to, pool).entries == 1
    left = connection.execute(
        "SELECT id FROM procrastinate_jobs WHERE args ->> 'organisation' = %s", [organisation]
    ).fetchall()
    assert left == [(open.entry,)]


def test_uploads_that_ended_long_ago_are_forgotten(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    for name, status, days in (("old", "completed", 31), ("new", "expired", 29), ("open", "pending", 31)):
        connection.execute(
            "INSERT INTO uploads (organisation, id, filename, purpose, bytes, media_type, status, expires_at)"
            " VALUES (%s, %s, 'a.txt', 'assistants', 1, 'text/plain', %s, now() - make_interval(days => %s))",
            [organisation, name, status, days],
        )
    assert archive(to, pool).uploads == 1
    assert connection.execute(
        "SELECT id FROM uploads WHERE organisation = %s ORDER BY id", [organisation]
    ).fetchall() == [
        ("new",),
        ("open",),
    ]


def test_answers_to_repeated_requests_are_forgotten_after_a_day(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, to: Settings
) -> None:
    for key in ("old", "new"):
        answer_once(connection, organisation, key, "request", lambda: {"id": "file-1"})
    connection.execute(
        "UPDATE idempotency_keys SET created_at = now() - interval '25 h'"
        " WHERE organisation = %s AND key = 'old'",
        [organisation],
    )
    assert archive(to, pool).keys == 1
    assert connection.execute(
        "SELECT key FROM idempotency_keys WHERE organisation = %s", [organisation]
    ).fetchall() == [("new",)]


def test_an_organisation_s_name_never_leaves_its_folder(
    pool: ConnectionPool, connection: Connection[Any], to: Settings
) -> None:
    hostile = "../../x/y"
    ensure_organisation(connection, hostile)
    finish(connection, hostile)
    (file,) = archive(to, pool).files
    assert Path(file).resolve().parent.parent.parent == Path(to.archive_url or "")
    assert archived(to)[0]["organisation"] == hostile


def test_a_bucket_takes_it_too(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, settings: Settings
) -> None:
    job = finish(connection, organisation)
    (path,) = archive(settings.model_copy(update={"archive_url": f"memory://{organisation}"}), pool).files
    import fsspec
    import pyarrow.parquet as pq

    with fsspec.filesystem("memory").open(path, "rb") as file:
        assert pq.read_table(file)["id"].to_pylist() == [job.id]
