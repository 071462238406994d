"""Each migration is applied exactly once, by any number of processes, and an edited one is refused."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from structlog.testing import capture_logs

from cluster import upgrade
from cluster.database import migrate as module
from cluster.database import open_pool
from cluster.database.migrate import Migration, migrate, migrations, plan
from cluster.errors import ClusterError, Conflict
from cluster.settings import Settings
from tests.waiting import until


@pytest.fixture
def empty(database_url: str) -> Iterator[str]:
    """URL of an empty database."""
    name = f"empty_{uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield database_url.rpartition("/")[0] + "/" + name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def applied(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [
            name
            for (name,) in connection.execute("SELECT name FROM schema_migrations ORDER BY number").fetchall()
        ]


def extended(monkeypatch: pytest.MonkeyPatch, *more: Migration) -> None:
    ours = [*migrations(), *more]
    monkeypatch.setattr(module, "migrations", lambda: ours)


def test_an_empty_database_gets_every_migration_and_a_second_call_applies_none(empty: str) -> None:
    names = [migration.name for migration in migrations()]
    assert names[0] == "0001_foundation.sql"
    assert migrate(empty) == names
    assert migrate(empty) == []
    assert applied(empty) == names


def test_every_number_occurs_once() -> None:
    numbers = [migration.number for migration in migrations()]
    assert numbers == sorted(set(numbers))


def test_four_processes_at_once_apply_each_migration_once(empty: str) -> None:
    code = (
        "from cluster.database.migrate import migrate; print('ready', flush=True); input();"
        f" print(len(migrate({empty!r})))"
    )
    run = [sys.executable, "-c", code]
    migrators = [
        subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for migrator in migrators:
        assert migrator.stdout is not None
        assert migrator.stdout.readline() == "ready\n"
    for migrator in migrators:
        assert migrator.stdin is not None
        migrator.stdin.write("\n")
        migrator.stdin.flush()
    counts = [int(migrator.communicate()[0].splitlines()[-1]) for migrator in migrators]
    assert [migrator.returncode for migrator in migrators] == [0] * 4
    assert sum(counts) == len(migrations()) == len(applied(empty))


def test_a_failed_migration_leaves_no_trace_and_earlier_ones_stay(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extended(
        monkeypatch,
        Migration(number=9000, name="9000_half.sql", sql="CREATE TABLE half (i int); SELECT 1/0;"),
    )
    with pytest.raises(ClusterError, match="division by zero"):
        migrate(empty)
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT to_regclass('half'), to_regclass('documents')").fetchone() == (
            None,
            "documents",
        )
    assert "9000_half.sql" not in applied(empty)


def test_a_migration_in_a_deadlock_is_applied_again(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(empty)
    name = "9001_more.sql"
    extended(monkeypatch, Migration(number=9001, name=name, sql="ALTER TABLE jobs ADD more int"))
    with psycopg.connect(empty, autocommit=True) as observer, psycopg.connect(empty) as other:
        other.execute("SET deadlock_timeout = '1h'")  # so Postgres ends the migration
        other.execute("LOCK TABLE jobs IN SHARE UPDATE EXCLUSIVE MODE")  # as autovacuum does
        with ThreadPoolExecutor(1) as thread, capture_logs() as logs:
            migrating = thread.submit(migrate, empty)
            waits = "SELECT count(*) FROM pg_locks WHERE relation = 'jobs'::regclass AND NOT granted"
            until(lambda: observer.execute(waits).fetchone() == (1,))
            other.execute("SELECT pg_advisory_xact_lock(%s)", [module.LOCK])
            other.commit()
            assert migrating.result() == [name]
    assert [entry["event"] for entry in logs] == ["migration_repeated", "migration_applied"]
    assert name in applied(empty)


def test_an_applied_migration_that_was_edited_is_refused_by_name(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("UPDATE schema_migrations SET sha256 = 'another' WHERE number = 1")
    with pytest.raises(Conflict, match=r"0001_foundation\.sql was edited"):
        migrate(empty)


def test_a_database_or_queue_newer_than_the_code_is_refused(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute(
            "INSERT INTO schema_migrations (number, name, sha256) VALUES (9999, '9999_future.sql', '')"
        )
    last = migrations()[-1].number
    for refused in (migrate, plan):
        with pytest.raises(Conflict, match=f"migration 9999, but the last one of this release is {last}: "):
            refused(empty)

    with psycopg.connect(empty) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE number = 9999")
        connection.execute("INSERT INTO queue_migrations (name) VALUES ('99.00.00_01_future.sql')")
    with pytest.raises(Conflict, match=r"99\.00\.00_01_future\.sql, which this Procrastinate does not know"):
        migrate(empty)


@pytest.mark.parametrize(
    ("sql", "changes"),
    [
        ("ALTER TABLE files ADD COLUMN a text; CREATE TABLE b (c int REFERENCES d ON DELETE CASCADE)", False),
        ("CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN DELETE FROM files; END $$ LANGUAGE plpgsql", False),
        ("CREATE TRIGGER t BEFORE UPDATE OR DELETE ON files FOR EACH ROW EXECUTE FUNCTION f()", False),
        ("-- DELETE FROM files\nALTER TABLE jobs RENAME COLUMN class TO priority_class", False),
        ("UPDATE files SET bytes = 0", True),
        ("WITH gone AS (DELETE FROM files RETURNING id) INSERT INTO lost SELECT id FROM gone", True),
        ("ALTER TABLE files DROP COLUMN bytes", True),
        ("ALTER TABLE files ALTER COLUMN bytes TYPE text", True),
        ("DROP TABLE files", True),
    ],
)
def test_a_migration_that_changes_data_is_recognised(sql: str, changes: bool) -> None:
    assert Migration(number=9000, name="9000_any.sql", sql=sql).changes_data is changes


def test_a_backup_is_advised_only_before_a_migration_that_changes_data_of_a_database_that_has_some(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as logs:
        migrate(empty)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == []

    extended(
        monkeypatch,
        Migration(number=9000, name="9000_adds.sql", sql="ALTER TABLE files ADD COLUMN a text"),
        Migration(number=9001, name="9001_changes.sql", sql="UPDATE files SET a = 'b'"),
    )
    with capture_logs() as logs:
        migrate(empty)
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert warning["migrations"] == ["9001_changes.sql"]
    assert "python -m cluster.upgrade" in warning["advice"]


def test_with_migrate_at_start_off_only_the_command_upgrades(
    empty: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate(empty)
    monkeypatch.setenv("CLUSTER_DATABASE_URL", empty)
    monkeypatch.setenv("CLUSTER_MIGRATE_AT_START", "false")
    open_pool(Settings()).close()
    assert upgrade.main([]) == upgrade.EXIT_CURRENT

    extended(monkeypatch, Migration(number=9001, name="9001_changes.sql", sql="DELETE FROM files"))
    with pytest.raises(
        Conflict, match=r"lacks the migrations .* 9001_changes\.sql .* cluster\.upgrade --apply"
    ):
        open_pool(Settings())
    assert upgrade.main([]) == upgrade.EXIT_MISSING
    shown = capsys.readouterr().out
    assert "9001_changes.sql  changes data" in shown
    assert 'pg_dump --format=custom --file=before-upgrade.dump "$CLUSTER_DATABASE_URL"' in shown
    assert "9001_changes.sql" not in applied(empty)

    assert upgrade.main(["--apply"]) == upgrade.EXIT_CURRENT
    open_pool(Settings()).close()


def test_a_role_without_the_right_to_create_works_with_a_complete_schema(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        role = f"reader_{uuid4().hex[:8]}"
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'reads'")
        connection.execute(f"GRANT SELECT ON schema_migrations, queue_migrations TO {role}")
    assert migrate(f"postgresql://{role}:reads@" + empty.rpartition("@")[2]) == []


def test_the_migration_of_batches_keeps_their_files(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [migration for migration in migrations() if migration.number < 5]
    with monkeypatch.context() as patch:
        patch.setattr(module, "migrations", lambda: before)
        migrate(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO vector_stores (organisation, id, name, collection, fingerprint_id, fingerprint)"
            " VALUES ('default', 's', 's', 'c', 'f', '{}');"
            "INSERT INTO file_batches (organisation, id, vector_store) VALUES ('default', 'b', 's');"
            "INSERT INTO files (organisation, id, filename, purpose, bytes, sha256, media_type)"
            " SELECT 'default', f, f, 'assistants', 1, f, 'text/plain' FROM unnest(ARRAY['f1', 'f2']) AS f;"
            "INSERT INTO vector_store_files (organisation, vector_store, file, document, status, job, batch)"
            " VALUES ('default', 's', 'f1', 'd1', 'completed', 'j1', 'b'),"
            " ('default', 's', 'f2', 'd2', 'in_progress', 'j2', NULL)"
        )
        migrate(empty)
        found = connection.execute(
            "SELECT batch, vector_store, file, job, status FROM file_batch_members"
        ).fetchall()
    assert found == [("b", "s", "f1", "j1", "completed")]
