"""A resource that is used up is a reason to wait: no job loses a try or its worker, and everything goes on by
itself once there is room.
"""

import asyncio
import errno
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg_pool import ConnectionPool

from cluster.blobs import open_blob_store
from cluster.database import bundled, open_pool, revive
from cluster.database.bundled.os_user import server_user
from cluster.database.row_access import OWNER
from cluster.doctor import examine
from cluster.errors import Resource, Shortage
from cluster.jobs import attempts, queue
from cluster.jobs.jobs import JobState
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.view import JobView, view_job
from cluster.settings import Settings
from data_jobs.worker.job_attempt import JobAttempt, JobFunction
from serve_app import database_access
from tests.conftest import NewHome, kill_postmaster, new_organisation, open_to_other_users
from tests.data_jobs.running_consumer import consuming
from tests.full_disks import SmallDisk, small_disk
from tests.serve_app.conftest import serving
from tests.serve_app.raw_requests import new_bytes, upload
from tests.waiting import LONGEST_WAIT_S, until

ORGANISATION = "default"
LEASE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Scarcity:
    """A database of its own that can be brought into need."""

    settings: Settings
    pool: ConnectionPool
    resource: Resource
    begin: Callable[[], Any]
    end: Callable[[], Any]

    def view(self, job: str) -> JobView:
        with self.pool.connection() as connection:
            return view_job(connection, ORGANISATION, job, now=datetime.now(UTC), lease_s=LEASE_S)


@pytest.fixture(scope="module")
def home(new_home: NewHome) -> Settings:
    return new_home("scarce", with_database=True).model_copy(update={"lease_s": LEASE_S})


@pytest.fixture(scope="module")
def own_pool(home: Settings) -> Iterator[ConnectionPool]:
    pool = open_pool(home, access=OWNER)
    yield pool
    pool.close()


@contextmanager
def full(home: Settings, pool: ConnectionPool, folder: Path) -> Iterator[Scarcity]:
    """Its tables on a disk of their own, which is full."""
    with small_disk(folder, kib=6_000) as disk:
        user = server_user(bundled.status(home).data)
        shutil.chown(disk.folder, user.uid, user.gid)
        open_to_other_users(disk.folder)
        with pool.connection() as connection:
            connection.autocommit = True
            connection.execute(f"CREATE TABLESPACE small LOCATION '{disk.folder}'")
            connection.execute("ALTER TABLE job_events SET TABLESPACE small")
            connection.execute("ALTER TABLE job_stages SET TABLESPACE small")
            connection.autocommit = False
        yield Scarcity(
            settings=home, pool=pool, resource=Resource.DATABASE_DISK, begin=disk.fill, end=disk.make_room
        )
        disk.make_room()
        with pool.connection() as connection:
            connection.autocommit = True
            connection.execute("ALTER TABLE job_events SET TABLESPACE pg_default")
            connection.execute("ALTER TABLE job_stages SET TABLESPACE pg_default")
            connection.execute("DROP TABLESPACE small")
            connection.autocommit = False


@contextmanager
def read_only(home: Settings, pool: ConnectionPool, folder: Path) -> Iterator[Scarcity]:
    """It takes no writes, as a standby does."""
    del folder

    def switch(to: str) -> None:
        with psycopg.connect(bundled.start(home), autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {to}")
            connection.execute("SELECT pg_reload_conf()")

    yield Scarcity(
        settings=home,
        pool=pool,
        resource=Resource.DATABASE_WRITES,
        begin=lambda: switch("on"),
        end=lambda: switch("off"),
    )
    switch("off")


@pytest.fixture(params=[full, read_only], ids=lambda kind: kind.__name__)
def scarcity(
    request: pytest.FixtureRequest, home: Settings, own_pool: ConnectionPool, tmp_path: Path
) -> Iterator[Scarcity]:
    with request.param(home, own_pool, tmp_path / "disk") as made:
        yield made


def busy(done: dict[str, bool]) -> Any:
    """A kind that tells of progress until it may end."""

    async def kind(run: JobAttempt) -> None:
        async def work() -> None:
            number = 0
            while not done.get("yes"):
                number += 1
                await run.progress(number, now=True)
                await asyncio.sleep(0.005)

        await run.stage("work", work)
        await run.in_transaction(lambda connection: attempts.finish(connection, run.job, result={}))

    return kind


def test_a_database_without_room_costs_no_job_a_try_and_is_told_everywhere(
    scarcity: Scarcity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_access, "SHORTAGE_LASTS_S", 5.0)
    done: dict[str, bool] = {}
    with scarcity.pool.connection() as connection:
        ids = [queue.submit(connection, ORGANISATION, JobKind(name="busy"), {}).id for _ in range(2)]
    with (
        consuming(scarcity.settings, scarcity.pool, kinds={"busy": busy(done)}) as consumer,
        serving(scarcity.settings) as server,
    ):
        until(
            lambda: [scarcity.view(id).job.state for id in ids],
            lambda states: set(states) == {JobState.RUNNING},
        )
        scarcity.begin()
        try:
            until(lambda: consumer.shortages.waiting[scarcity.resource], lambda calls: calls > 0)
            waiting = until(
                lambda: scarcity.view(ids[0]).waiting, lambda waiting: waiting and waiting.reason == "storage"
            )
            assert waiting.message == scarcity.resource.sentence
            time.sleep(2.5 * LEASE_S)  # heartbeats that cannot be written grow old
            with httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http:
                told = http.get("/readyz")
                assert (told.status_code, told.json()["status"]) == (200, "short")
                assert told.json()["short"][scarcity.resource] == scarcity.resource.sentence
                assert http.get(f"/v1/jobs/{ids[0]}").json()["waiting"]["reason"] == "storage"
                if scarcity.resource == Resource.DATABASE_WRITES:
                    refused = upload(http, new_bytes())
                    assert (
                        refused.status_code,
                        refused.json()["error"]["code"],
                        refused.headers["retry-after"],
                    ) == (503, "short", "10")
            room = next(part for part in examine(scarcity.settings).parts if part.name == "room")
            assert (room.fine, scarcity.resource.sentence in room.says) == (False, True)
            assert scarcity.resource in server.service.known_shortages()
        finally:
            scarcity.end()
        done["yes"] = True
        views = [until(lambda id=id: scarcity.view(id), lambda view: view.job.state.ended) for id in ids]
        assert [(view.job.state, view.job.attempt) for view in views] == [(JobState.SUCCEEDED, 1)] * 2
        assert [[one.outcome for one in view.attempts] for view in views] == [["succeeded"]] * 2
        assert [[stage.tries for stage in view.stages] for view in views] == [[1]] * 2
        until(server.service.known_shortages, lambda short: not short)


def test_a_database_that_was_away_costs_no_job_a_try(home: Settings, own_pool: ConnectionPool) -> None:
    done: dict[str, bool] = {}

    def view() -> JobView:
        with own_pool.connection() as connection:
            return view_job(connection, ORGANISATION, id, now=datetime.now(UTC), lease_s=LEASE_S)

    with own_pool.connection() as connection:
        id = queue.submit(connection, ORGANISATION, JobKind(name="busy"), {}).id
    with consuming(home.model_copy(update={"lease_s": 3 * LEASE_S}), own_pool, kinds={"busy": busy(done)}):
        before = until(view, lambda view: view.job.state == JobState.RUNNING).job.done
        kill_postmaster(home)
        bundled.start(home)
        revive(home, own_pool)
        # Back at once, the database may never be missed; otherwise the job is given back, and begins anew.
        until(view, lambda view: view.job.attempt > 1 or view.job.done > before + 100)
        done["yes"] = True
        ended = until(view, lambda view: view.job.state.ended)
    *given_back, last = ended.attempts
    assert (ended.job.state, last.outcome, ended.job.last_attempt) == (
        JobState.SUCCEEDED,
        "succeeded",
        3 + len(given_back),
    )
    assert {one.outcome for one in given_back} <= {"retried"}
    assert {one.error for one in given_back} <= {"the database was away", "its worker was stopped"}


#: What a stage raises on a full disk, and the resource that the job then names.
FULL = {
    "ENOSPC": (OSError(errno.ENOSPC, "No space left on device"), Resource.OWN_DISK),
    "EDQUOT": (OSError(errno.EDQUOT, "Disk quota exceeded"), Resource.OWN_DISK),
    "EROFS": (OSError(errno.EROFS, "Read-only file system"), Resource.OWN_DISK),
    "blobs": (Shortage("full", resource=Resource.BLOB_STORE, retry_after_s=3_600), Resource.BLOB_STORE),
}


@dataclass(frozen=True)
class Waited:
    """A job whose stage found a full disk."""

    waiting: JobView
    ended: JobView
    #: Number of events that say that the job pauses.
    pauses: int


@pytest.fixture(scope="module")
def waited(settings: Settings, pool: ConnectionPool) -> dict[str, Waited]:
    """A job for each error of ``FULL``. The jobs wait side by side, because each one waits for seconds."""
    room = {"there": False}
    started: set[str] = set()

    def kind(name: str) -> JobFunction:
        async def work() -> None:
            if not room["there"]:
                raise FULL[name][0]

        async def run(run: JobAttempt) -> None:
            started.add(name)
            while started != FULL.keys():  # a worker claims fewer jobs while a disk is full
                await asyncio.sleep(0.01)
            await run.stage("work", work)
            await run.in_transaction(lambda connection: attempts.finish(connection, run.job, result={}))

        return run

    organisations = {name: new_organisation(pool) for name in FULL}

    def view(name: str) -> JobView:
        with pool.connection() as connection:
            return view_job(connection, organisations[name], ids[name], now=datetime.now(UTC), lease_s=30)

    def wait_for(condition: Callable[[JobView], bool]) -> dict[str, JobView]:
        return {name: until(lambda name=name: view(name), condition) for name in FULL}

    slots = {"worker_slots_medium": len(FULL)}
    hurried = settings.model_copy(update={"stage_timeout_s": 4.0, "stage_attempts": 1, **slots})
    with consuming(hurried, pool, kinds={name: kind(name) for name in FULL}):
        with pool.connection() as connection:
            ids = {
                name: queue.submit(connection, organisation, JobKind(name=name), {}).id
                for name, organisation in organisations.items()
            }
        waiting = wait_for(lambda view: view.waiting is not None and view.waiting.reason == "storage")
        time.sleep(4.5)  # longer than a stage in which nothing gets done may take
        room["there"] = True
        ended = wait_for(lambda view: view.job.state.ended)
    with pool.connection() as connection:
        paused = Counter(
            job
            for (job,) in connection.execute(
                "SELECT job FROM job_events WHERE job = ANY(%s) AND type = 'paused'", [list(ids.values())]
            )
        )
    return {name: Waited(waiting[name], ended[name], paused[ids[name]]) for name in FULL}


@pytest.mark.parametrize("name", FULL)
def test_a_stage_that_finds_a_disk_full_waits_in_place_and_says_which(
    waited: dict[str, Waited], name: str
) -> None:
    seen, ended, resource = waited[name].waiting, waited[name].ended, FULL[name][1]
    assert (seen.job.state, seen.job.waits_for) == (JobState.RUNNING, resource)
    assert seen.waiting is not None
    assert resource.sentence in seen.waiting.message
    assert (ended.job.state, ended.job.attempt, ended.stages[0].tries) == (JobState.SUCCEEDED, 1, 1)
    assert waited[name].pauses == 1


def test_a_statement_at_a_limit_of_the_database_waits_no_longer_than_its_stage(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    async def kind(run: JobAttempt) -> None:
        def sort(connection: Any) -> None:
            connection.execute("SET LOCAL ROLE NONE")  # only a superuser may set this limit
            connection.execute("SET LOCAL temp_file_limit = '64kB'")
            connection.execute("SET LOCAL work_mem = '64kB'")
            connection.execute("SELECT g FROM generate_series(1, 500000) AS g ORDER BY random()").fetchall()

        await run.stage("work", lambda: run.in_transaction(sort))

    hurried = settings.model_copy(update={"stage_timeout_s": 2.0, "stage_attempts": 1})
    with consuming(hurried, pool, kinds={"kind": kind}):
        with pool.connection() as connection:
            id = queue.submit(connection, organisation, JobKind(name="kind"), {}).id

        def view() -> JobView:
            with pool.connection() as connection:
                return view_job(connection, organisation, id, now=datetime.now(UTC), lease_s=30)

        ended = until(view, lambda view: view.job.state.ended).job
    assert (ended.state, ended.error_code, ended.attempt) == (JobState.FAILED, "short", 1)
    assert Resource.DATABASE_MEMORY.sentence in (ended.error or "")


@pytest.mark.parametrize("how", [SmallDisk.fill, SmallDisk.stop_writes], ids=["full", "read-only"])
def test_a_blob_store_without_room_says_so_and_takes_bytes_once_there_is(
    settings: Settings, tmp_path: Path, how: Callable[[SmallDisk], None]
) -> None:
    with small_disk(tmp_path / "blobs", kib=64) as disk:
        store = open_blob_store(settings.model_copy(update={"blob_url": str(disk.folder)}))

        def write() -> None:
            with store.writer("default") as writer:
                writer.write(b"x" * 10_000)
                writer.commit()

        write()
        how(disk)
        with pytest.raises(Shortage) as caught:
            write()
        assert caught.value.resource == Resource.BLOB_STORE
        assert caught.value.retry_after_s
        disk.make_room()
        write()
