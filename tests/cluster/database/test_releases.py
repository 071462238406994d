"""The data of each release is upgraded: every row, index, job and file that it had works in this release."""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import Connection
from psycopg.sql import SQL, Identifier
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import open_pool
from cluster.database.bundled import binaries
from cluster.database.migrate import migrate, migrations
from cluster.database.row_access import OWNER
from cluster.database.row_security import without_policies
from cluster.doctor.ailment import Patient
from cluster.doctor.examination import AILMENTS
from cluster.doctor.job_ailments import LEASE
from cluster.engines import Engine
from cluster.settings import Settings
from serve_app.service import Service
from tests.conftest import ROOT
from tests.data.releases.make import SECRET_KEY, TEXTS
from tests.data_jobs.running_consumer import consuming
from tests.own_database import own_database
from tests.serve_app.conftest import bearer, serving
from tests.waiting import LONGEST_WAIT_S, until

ARCHIVES = sorted((ROOT / "tests/data/releases").glob("*.tar.xz"))
ENDS_OF_HISTORY = {ARCHIVES[0].name.partition(".")[0], ARCHIVES[-1].name.partition(".")[0]}
#: A worker of the release died this long ago, at least.
LEASE_S = 1.5
#: What the doctor may find after an upgrade, because workers mend it in the background.
MENDED_BY_WORKERS = {"stores_with_old_words", "stores_with_uncounted_changes", LEASE.name}


@dataclass(frozen=True, kw_only=True)
class Release:
    """The restored and upgraded data of a release."""

    settings: Settings
    facts: dict[str, Any]
    #: Rows of each table before the upgrade.
    rows: dict[str, int]
    #: Names of the migrations that the release had, and of those that the upgrade applied.
    had: list[str]
    applied: list[str]


def rows_of(connection: Connection[Any]) -> dict[str, int]:
    """Return the number of rows of each table."""
    tables = connection.execute(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"
    ).fetchall()
    counts = {}
    for (table,) in tables:
        row = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()
        assert row is not None
        counts[table] = row[0]
    return counts


#: Every column, index, constraint and trigger of the tables that migrations make, as text. Constraints of the
#: kind NOT NULL are left out: they have other names in a restored database, and the columns say the same.
SCHEMA = """
SELECT format('%s %s %s %s %s', table_name, column_name, data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'vectors\\_%'
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'vectors\\_%'
UNION ALL SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    AND conrelid::regclass::text NOT LIKE 'vectors\\_%'
UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger
WHERE NOT tgisinternal AND tgrelid::regclass::text NOT LIKE 'vectors\\_%'"""


def schema_of(connection: Connection[Any]) -> set[str]:
    """Return the columns, indexes, constraints and triggers of a database."""
    return {line for (line,) in connection.execute(SCHEMA)}


def run(program: str, *arguments: str) -> None:
    """Run a program of the bundled Postgres."""
    subprocess.run(
        [binaries.newest() / program, *arguments],
        check=True,
        timeout=LONGEST_WAIT_S,
        stdout=subprocess.DEVNULL,
    )


def url_of(settings: Settings) -> str:
    """Return the URL of the database that the settings name."""
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def restore(archive: Path, settings: Settings, folder: Path) -> dict[str, Any]:
    """Restore the database and the blobs of a release, and return its facts."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    options = ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={folder / 'database.sql'}"]
    run("psql", *options, url_of(settings))
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    return facts


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name.partition("_")[0])
def release(
    request: pytest.FixtureRequest,
    settings: Settings,
    database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    """The data of a release in a database and a home of its own, upgraded."""
    folder = tmp_path_factory.mktemp("release")
    with own_database(settings, database_url) as own:
        changes = {"home": folder, "lease_s": LEASE_S, "secret_key": SecretStr(SECRET_KEY)}
        own = own.model_copy(update=changes)
        facts = restore(request.param, own, folder)
        url = url_of(own)
        with psycopg.connect(url) as connection:
            rows = rows_of(connection)
            had = [name for (name,) in connection.execute("SELECT name FROM schema_migrations")]
        yield Release(settings=own, facts=facts, rows=rows, had=had, applied=migrate(url))


@pytest.fixture(scope="module")
def upgraded_pool(release: Release) -> Iterator[ConnectionPool]:
    """Connections to the upgraded database."""
    pool = open_pool(release.settings, access=OWNER)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def service(release: Release) -> Iterator[tuple[httpx.Client, Service]]:
    """Requests to an endpoint of this release, with the key that the old release made."""
    with serving(release.settings) as server:
        key = release.facts["key"]
        with httpx.Client(
            base_url=server.url, timeout=LONGEST_WAIT_S, headers=bearer(key) if key else {}
        ) as client:
            yield client, server.service


def test_each_missing_migration_is_applied_and_no_row_is_lost(
    release: Release, upgraded_pool: ConnectionPool
) -> None:
    missing = [one.name for one in migrations() if one.name not in release.had]
    with upgraded_pool.connection() as connection:
        after = rows_of(connection)

    assert release.applied == missing
    assert {table: count for table, count in release.rows.items() if after.get(table, 0) < count} == {}


def test_the_upgraded_schema_is_that_of_a_new_database(
    upgraded_pool: ConnectionPool, connection: Connection[Any]
) -> None:
    with upgraded_pool.connection() as upgraded:
        found, new = schema_of(upgraded), schema_of(connection)

    assert (found - new, new - found) == (set(), set())


def test_searches_find_each_document_of_the_release(
    release: Release, service: tuple[httpx.Client, Service]
) -> None:
    client, _ = service
    for file, question in release.facts["questions"].items():
        path = f"/v1/vector_stores/{release.facts['store']}/search"
        found = client.post(path, json={"query": question})
        assert found.status_code == httpx.codes.OK, found.text
        assert found.json()["data"][0]["filename"] == file
        content = client.get(f"/v1/files/{release.facts['files'][file]}/content")
        assert content.text == TEXTS[file]


def test_jobs_of_the_release_end_and_its_failed_file_can_be_retried(
    release: Release, upgraded_pool: ConnectionPool, service: tuple[httpx.Client, Service]
) -> None:
    if release.facts["migration"] not in ENDS_OF_HISTORY:
        pytest.skip("the oldest and the newest release are enough, because a worker takes seconds to start")
    client, served = service
    store, failed = release.facts["store"], release.facts["failed"]
    engine: Engine = served.models.default.engine
    [job] = client.get("/v1/jobs", params={"subject": failed["file"]}).json()["data"]
    assert job["state"] == "failed"

    with consuming(release.settings, upgraded_pool, engine):
        assert client.post(f"/v1/jobs/{job['id']}/retry").status_code == httpx.codes.OK
        for file in release.facts["waiting"]:
            ended = until(
                lambda file=file: client.get(f"/v1/vector_stores/{store}/files/{file}").json(),
                lambda one: one["status"] != "in_progress",
            )
            assert ended["status"] == "completed", ended
        retried = until(lambda: client.get(f"/v1/jobs/{job['id']}").json(), lambda one: one["finished_at"])

    assert (retried["state"], retried["error"]) == ("failed", job["error"])


def test_the_doctor_finds_nothing_that_an_upgrade_left_behind(
    release: Release, upgraded_pool: ConnectionPool
) -> None:
    patient = Patient(settings=release.settings, pool=upgraded_pool)

    found = {
        ailment.name: [case.label for case in cases]
        for ailment in AILMENTS
        if (cases := ailment.find(patient))
    }

    assert found.keys() <= MENDED_BY_WORKERS, found


def test_a_backup_is_restored_into_another_database_as_the_handbook_says(
    release: Release, upgraded_pool: ConnectionPool, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    if release.facts["migration"] != ARCHIVES[-1].name.partition(".")[0]:
        pytest.skip("the newest release is enough")
    handbook = " ".join((ROOT / "docs/operating.md").read_text().split())
    how = ["--clean", "--if-exists", "--single-transaction"]
    another_name = ["--no-acl", "--no-policies"]
    assert f"`pg_restore {' '.join(how)}`" in handbook
    assert f"add `{' '.join(another_name)}`" in handbook
    file = str(tmp_path / "database.dump")
    with upgraded_pool.connection() as connection:
        rows = rows_of(connection)

    run("pg_dump", "-Fc", "-f", file, url_of(release.settings))
    with own_database(settings, database_url) as other:
        migrate(url_of(other))  # by make up, before the dump is loaded
        run("pg_restore", *how, *another_name, f"--dbname={url_of(other)}", file)
        open_pool(other).close()
        with psycopg.connect(url_of(other)) as connection:
            assert rows_of(connection) == rows
            assert without_policies(connection) == []
