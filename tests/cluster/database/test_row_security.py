"""Postgres itself keeps organisations apart: a statement that forgets its organisation finds no row."""

import re
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import (
    as_owner,
    for_all_organisations,
    for_organisation,
    on_behalf_of_the_cluster,
    open_pool,
    organisation_access,
    single_statements,
    snapshot,
    translated,
)
from cluster.database.migrate import migrate
from cluster.database.row_access import ContextThreads
from cluster.database.row_security import SHARED_TABLES, unprotected, without_policies
from cluster.documents.chunks import chunk_store
from cluster.documents.chunks.word_statements import WordStatements
from cluster.errors import Misconfigured, NotPermitted
from cluster.settings import Settings
from cluster.vector_index.collections import Collection
from cluster.vector_index.pgvector.statements import Statements
from tests.conftest import ROOT, new_organisation
from tests.own_database import own_database

JOB = (
    "INSERT INTO jobs (organisation, id, kind, state, input) VALUES (%s, 'job_1', 'none', 'succeeded', '{}')"
)
COUNT = "SELECT count(*) FROM jobs WHERE id = 'job_1'"
#: Code that reaches all organisations, or acts as the owner of the tables.
REACHES_ALL = re.compile(
    r"for_all_organisations\(\)|as_owner\(\)|on_behalf_of_the_cluster\(|owner_within\("
    r"|access=(ALL|OWNER)|ALL if "
)
#: The only files with such code.
MAY_REACH_ALL = {
    "cluster/alerts/watch.py",  # evaluates the alerts of the whole cluster
    "cluster/database/pool.py",  # commands of the operator
    "cluster/database/row_access.py",
    "cluster/database/scoped_connection.py",
    "cluster/documents/chunks/chunk_store.py",  # creates tables, and copies chunks into them
    "cluster/doctor/examination.py",
    "cluster/engines/openai/ledger.py",  # usage of several organisations
    "cluster/jobs/rescue.py",  # ends sessions of stopped processes
    "data_jobs/schedules.py",  # a command of the operator
    "serve_app/routes/jobs/job_changes.py",  # one query for the listeners of all organisations
    "serve_app/routes/jobs/job_events.py",  # one query for the listeners of all organisations
    "cluster/documents/chunks/change_counters.py",
    "cluster/documents/chunks/chunk_words.py",
    "cluster/doctor/table_ailments.py",
    "cluster/jobs/command_job.py",
    "cluster/keys/known_keys.py",
    "cluster/keys/open_address.py",
    "cluster/vector_index/pgvector/index.py",
    "data_jobs/analytics.py",  # a command of the operator
    "data_jobs/jobs.py",  # a command of the operator
    "data_jobs/deployment.py",
    "data_jobs/worker/consumer.py",
    "data_jobs/worker/job_runner.py",  # jobs of the organisation "system"
    "data_jobs/usage_report.py",  # with --all
    "serve_app/edge/permissions.py",  # routes that only the operator may use
    "serve_app/routes/overview/overview_feed.py",  # the cluster's overview, for the operator
    "serve_app/database_access.py",
    "serve_app/service.py",
}


@pytest.fixture(scope="module")
def strict(settings: Settings, pool: ConnectionPool) -> Iterator[ConnectionPool]:
    """A pool as every process opens it: without an access, it reaches nothing."""
    del pool  # it has started the server
    with open_pool(settings.model_copy(update={"database_pool_size": 2})) as strict:
        yield strict


@pytest.fixture(scope="module")
def two(pool: ConnectionPool) -> tuple[str, str]:
    """Two organisations, each with a job ``job_1``."""
    owners = new_organisation(pool), new_organisation(pool)
    with pool.connection() as connection:
        for owner in owners:
            connection.execute(JOB, [owner])
    return owners


def seen(connection: Connection[Any], two: tuple[str, str]) -> list[str]:
    rows = connection.execute("SELECT organisation FROM jobs WHERE id = 'job_1' ORDER BY 1").fetchall()
    return sorted({owner for (owner,) in rows} & set(two))


def test_every_table_with_rows_of_organisations_has_policies(connection: Connection[Any]) -> None:
    tables = connection.execute(
        """
        SELECT relname, relrowsecurity, array(SELECT polname FROM pg_policy WHERE polrelid = relation.oid)
        FROM pg_class AS relation JOIN pg_attribute ON attrelid = relation.oid AND attname = 'organisation'
        WHERE relkind IN ('r', 'p') AND NOT attisdropped AND relnamespace = 'public'::regnamespace
        """
    ).fetchall()
    assert len(tables) > 30
    open_tables = {
        name
        for name, enabled, policies in tables
        if not (enabled and {"all_organisations", "own_organisation"} <= set(policies))
    }
    assert open_tables == set(SHARED_TABLES)


def test_a_statement_sees_only_what_its_context_reaches(strict: ConnectionPool, two: tuple[str, str]) -> None:
    one, other = two
    with strict.connection() as connection:
        assert seen(connection, two) == []
    with for_organisation(one), strict.connection() as connection:
        assert seen(connection, two) == [one]
    with for_all_organisations(), strict.connection() as connection:
        assert seen(connection, two) == sorted(two)
    with (
        for_organisation(one),
        pytest.raises(Misconfigured, match="row-level security"),
        translated(),
        strict.connection() as connection,
    ):
        connection.execute(JOB.replace("job_1", "job_2"), [other])
    with for_organisation(one), strict.connection() as connection:
        assert connection.execute("UPDATE jobs SET kind = 'none' WHERE id = 'job_1'").rowcount == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE jobs SET organisation = %s WHERE id = 'job_1'", [other])


def test_every_kind_of_connection_has_the_access(strict: ConnectionPool, two: tuple[str, str]) -> None:
    one, other = two
    for owner in (one, other, one):
        with for_organisation(owner):
            with snapshot(strict) as connection:
                assert seen(connection, two) == [owner]
            with single_statements(strict) as connection:
                assert seen(connection, two) == [owner]
                with connection.transaction():
                    assert seen(connection, two) == [owner]
            with strict.connection() as connection, connection.pipeline():
                assert seen(connection, two) == [owner]
            with strict.connection() as connection, connection.transaction(), connection.transaction():
                assert seen(connection, two) == [owner]
    with single_statements(strict) as connection:
        assert seen(connection, two) == []


def test_a_thread_has_the_access_of_the_code_that_starts_its_work(
    strict: ConnectionPool, two: tuple[str, str]
) -> None:
    def reached() -> list[str]:
        with strict.connection() as connection:
            return seen(connection, two)

    found: list[list[str]] = []
    with for_organisation(two[0]):
        thread = threading.Thread(target=lambda: found.append(reached()))
        thread.start()
        thread.join()
        with ContextThreads(1) as threads:
            found.append(threads.submit(reached).result())
        found.append(on_behalf_of_the_cluster(reached))
    assert found == [[], [two[0]], sorted(two)]


def test_a_request_of_an_organisation_cannot_reach_further(
    strict: ConnectionPool, two: tuple[str, str]
) -> None:
    with for_organisation(two[0], confined=True):
        with pytest.raises(NotPermitted, match="cannot reach other organisations"), for_all_organisations():
            pass
        with for_organisation(two[1]), pytest.raises(NotPermitted), for_all_organisations():
            pass


def test_only_these_files_reach_all_organisations() -> None:
    found = {
        str(file.relative_to(ROOT))
        for package in ("cluster", "data_jobs", "serve_app")
        for file in (ROOT / package).rglob("*.py")
        if REACHES_ALL.search(file.read_text())
    }
    assert found == MAY_REACH_ALL


def test_the_audit_log_can_only_grow(strict: ConnectionPool) -> None:
    for statement in (
        "UPDATE audit_events SET actor = ''",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
    ):
        with (
            for_all_organisations(),
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"),
            strict.connection() as connection,
        ):
            connection.execute(statement)


def test_a_collection_that_a_request_creates_is_protected_and_its_indexes_stay_in_use(
    strict: ConnectionPool, two: tuple[str, str]
) -> None:
    one, other = two
    name = f"c_{uuid4().hex[:8]}"
    with for_organisation(one, confined=True), strict.connection() as connection:
        chunk_store.ensure_table(connection, name, dim=3)
    table = f"vectors_{name}"
    fill = f"""
        INSERT INTO {table} (organisation, vector_store, id, document, text, attributes, embedding, words)
        SELECT %s, 'vs', n::text, 'd', '', jsonb_build_object('n', n), '[1,2,3]', to_tsvector('word' || n)
        FROM generate_series(1, 3000) AS n"""
    for owner in two:
        with for_organisation(owner), strict.connection() as connection:
            connection.execute(fill, [owner])
    collection = Collection(name=name, dim=3, metric="cosine")
    with as_owner(), single_statements(strict) as connection:
        connection.execute(Statements(collection).create_index())
        connection.execute(f"ANALYZE {table}")
    chunks = WordStatements(name)
    words = chunks.by_words(psycopg.sql.SQL("attributes @> '{\"n\": 7}'"))
    near = Statements(collection).by_vector_ann(psycopg.sql.SQL("true"))
    values = {
        "organisation": one,
        "store": "vs",
        "words": "word7",
        "k": 5,
        "candidates": 20,
        "vector": np.ones(3, np.float32),
    }
    with for_organisation(one), strict.connection() as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (3000,)
        for statement, index in ((words, f"{table}_attributes_idx"), (near, f"{table}_hnsw")):
            plan = connection.execute(psycopg.sql.SQL("EXPLAIN ") + statement, values).fetchall()
            assert any(index in line for (line,) in plan), plan
    with for_organisation(other), strict.connection() as connection:
        assert connection.execute(words, values).fetchall() == []


@pytest.fixture
def managed(settings: Settings, database_url: str) -> Iterator[Settings]:
    """A database whose log-in owns it and is no superuser, as managed servers have it."""
    login = f"login_{uuid4().hex[:8]}"
    with own_database(settings, database_url) as own:
        assert own.database_url is not None
        admin = own.database_url.get_secret_value()
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{login}'")
            connection.execute("CREATE EXTENSION vector")
            connection.execute(f"GRANT CREATE ON SCHEMA public TO {login}")
            database = connection.info.dbname
            connection.execute(f"ALTER DATABASE {database} OWNER TO {login}")
            # Take back what the superuser of the other databases of this server has prepared.
            connection.execute("ALTER FUNCTION ts_match_vq(tsvector, tsquery) NOT LEAKPROOF")
        url = make_conninfo(admin, user=login, password=login)
        yield own.model_copy(update={"database_url": SecretStr(url)})
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {login}")


def test_a_log_in_that_may_create_roles_is_enough_for_a_managed_postgres(
    managed: Settings, database_url: str
) -> None:
    assert managed.database_url is not None
    url = managed.database_url.get_secret_value()
    login = psycopg.conninfo.conninfo_to_dict(url)["user"]
    with open_pool(managed, access=organisation_access("default")) as pool, pool.connection() as connection:
        assert "jobs" in without_policies(connection)  # it may not create roles: everything works without
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {login} CREATEROLE")
    with open_pool(managed, access=organisation_access("default")) as pool:
        with pool.connection() as connection:
            chunk_store.ensure_table(connection, "some", dim=3)
        with pool.connection() as connection:
            connection.execute(JOB, ["default"])
            assert connection.execute(COUNT).fetchone() == (1,)
            # A search could not use the indexes of chunk tables, and only a superuser can change this.
            assert without_policies(connection) == ["vectors_some"]
        with for_organisation("another"), pool.connection() as connection:
            assert connection.execute(COUNT).fetchone() == (0,)


def test_a_table_that_a_later_release_adds_is_protected_by_its_migration(
    settings: Settings, database_url: str
) -> None:
    with own_database(settings, database_url) as own:
        assert own.database_url is not None
        url = own.database_url.get_secret_value()
        migrate(url)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE things (organisation text REFERENCES organisations, name text)")
            connection.execute(
                "INSERT INTO things VALUES (NULL, 'shared'), ('default', 'own'), ('system', 'other')"
            )
        migrate(url)
        with open_pool(own, access=organisation_access("default")) as pool, pool.connection() as connection:
            names = connection.execute("SELECT name FROM things ORDER BY 1").fetchall()
            assert names == [("own",), ("shared",)]  # rows of no organisation are for all to read
            assert connection.execute("DELETE FROM things").rowcount == 1
            assert unprotected(connection) == []
