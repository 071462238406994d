"""Every error of psycopg becomes one of ours, on the branch that says what to do next."""

import pickle
from collections.abc import Iterator

import psycopg
import psycopg_pool
import pytest
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import open_pool
from cluster.database.errors import BY_CLASS, BY_SQLSTATE, translate, translated
from cluster.database.row_access import OWNER
from cluster.errors import (
    ClusterError,
    Conflict,
    InvalidInput,
    Misconfigured,
    Permanent,
    Resource,
    Retryable,
    Shortage,
    Unavailable,
)
from cluster.settings import Settings


def exceptions() -> Iterator[type[psycopg.Error]]:
    for module in (psycopg, psycopg.errors, psycopg_pool):
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, psycopg.Error)
                and not value.__name__.startswith("_")
            ):
                yield value


def test_every_sqlstate_that_psycopg_knows_is_in_the_table() -> None:
    states = {theirs.sqlstate for theirs in exceptions() if theirs.sqlstate}
    assert len(states) > 200
    assert {state for state in states if state not in BY_SQLSTATE and state[:2] not in BY_SQLSTATE} == set()


def test_every_error_of_psycopg_without_sqlstate_is_in_the_table_by_name() -> None:
    assert {theirs for theirs in exceptions() if not theirs.sqlstate} == set(BY_CLASS)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (psycopg.errors.AdminShutdown, Unavailable),
        (psycopg.errors.CannotConnectNow, Unavailable),
        (psycopg.errors.TooManyConnections, Shortage),
        (psycopg.errors.DiskFull, Shortage),
        (psycopg.errors.ReadOnlySqlTransaction, Shortage),
        (psycopg.errors.SerializationFailure, Retryable),
        (psycopg.errors.DeadlockDetected, Retryable),
        (psycopg.errors.QueryCanceled, Retryable),
        (psycopg.errors.UniqueViolation, Conflict),
        (psycopg.errors.InvalidPassword, Misconfigured),
        (psycopg.errors.InsufficientPrivilege, Misconfigured),
        (psycopg.errors.SyntaxError, Permanent),
        (psycopg.errors.DataCorrupted, Permanent),
        (psycopg_pool.PoolTimeout, Unavailable),
        (psycopg.InterfaceError, Unavailable),
    ],
)
def test_an_error_gets_its_branch(theirs: type[psycopg.Error], ours: type[ClusterError]) -> None:
    assert type(translate(theirs("what happened"))) is ours


def test_text_that_postgres_cannot_hold_is_invalid_input(pool: ConnectionPool) -> None:
    with pytest.raises(InvalidInput, match="NUL") as caught, translated(), pool.connection() as connection:
        connection.execute("SELECT %s::text", ["a\0b"])
    assert isinstance(caught.value.__cause__, psycopg.DataError)


def test_a_server_that_does_not_answer_is_retryable() -> None:
    with pytest.raises(Unavailable) as caught, translated():
        psycopg.connect("postgresql://nobody@127.0.0.1:1/nothing", connect_timeout=2)
    assert caught.value.retry_after_s is not None


@pytest.mark.parametrize("wrong", ["postgresql://cluster:guessed@", "postgresql://stranger:guessed@"])
def test_a_refused_log_in_is_permanent(database_url: str, wrong: str) -> None:
    with pytest.raises(Misconfigured), translated():
        psycopg.connect(wrong + database_url.rpartition("@")[2])


def test_a_missing_database_is_permanent(database_url: str) -> None:
    with pytest.raises(Misconfigured), translated():
        psycopg.connect(database_url.replace("/postgres", "/nothing"))


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("ours")


@pytest.mark.parametrize(
    ("statement", "resource"),
    [
        (
            "SELECT count(pg_advisory_xact_lock_shared(g)) FROM generate_series(1, 200000) AS g",
            Resource.DATABASE_MEMORY,
        ),
        (
            "SET LOCAL temp_file_limit = '64kB'; SET LOCAL work_mem = '64kB';"
            " SELECT g FROM generate_series(1, 500000) AS g ORDER BY random()",
            Resource.DATABASE_MEMORY,
        ),
        ("SET TRANSACTION READ ONLY; DELETE FROM jobs", Resource.DATABASE_WRITES),
        ("DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$", Resource.DATABASE_DISK),
        (
            "DO $$ BEGIN RAISE 'could not write: Disk quota exceeded' USING ERRCODE = 'XX000'; END $$",
            Resource.DATABASE_DISK,
        ),
        (
            "DO $$ BEGIN RAISE 'could not open file: Read-only file system' USING ERRCODE = '42501'; END $$",
            Resource.DATABASE_WRITES,
        ),
        ("DO $$ BEGIN RAISE 'out of memory' USING ERRCODE = '53200'; END $$", Resource.DATABASE_MEMORY),
    ],
    ids=["locks", "temporary files", "read-only", "disk", "quota", "read-only disk", "memory"],
)
def test_a_shortage_of_postgres_names_the_resource_and_what_to_do(
    pool: ConnectionPool, statement: str, resource: Resource
) -> None:
    with pytest.raises(Shortage) as caught, translated(), pool.connection() as connection:
        connection.execute(statement)
    assert caught.value.resource == resource
    assert resource.sentence in str(caught.value)
    assert caught.value.retry_after_s


def test_a_refused_value_that_mentions_a_full_disk_is_no_shortage(pool: ConnectionPool) -> None:
    with pytest.raises(InvalidInput), translated(), pool.connection() as connection:
        connection.execute("SELECT 'No space left on device'::integer")


def test_a_shortage_survives_pickling() -> None:
    sent = Shortage("full", resource=Resource.BLOB_STORE, retry_after_s=3)
    received = pickle.loads(pickle.dumps(sent))
    assert (str(received), received.resource, received.retry_after_s) == ("full", Resource.BLOB_STORE, 3)


def test_a_caller_of_the_pool_learns_that_the_server_has_no_free_connection(
    pool: ConnectionPool, settings: Settings, database_url: str
) -> None:
    with pool.connection() as connection:
        connection.execute("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO few")
    url = f"postgresql://few:few@{database_url.rpartition('@')[2]}"
    few = open_pool(settings.model_copy(update={"database_url": SecretStr(url)}), access=OWNER)
    few.timeout = 1.0
    try:
        with few.connection():
            with pytest.raises(Shortage) as caught, translated():
                psycopg.connect(url)
            assert caught.value.resource == Resource.DATABASE_CONNECTIONS
            with (
                pytest.raises(Shortage, match="too many connections for role") as caught,
                translated(),
                few.connection(),
            ):
                pass
            assert caught.value.resource == Resource.DATABASE_CONNECTIONS
        with translated(), few.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        few.close()
        with pool.connection() as connection:
            connection.execute("DROP OWNED BY few")
            connection.execute("DROP ROLE few")
