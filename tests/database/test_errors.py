"""Whatever psycopg raises leaves as one of our errors, on the branch that says what to do next."""

from collections.abc import Iterator

import psycopg
import psycopg_pool
import pytest
from psycopg_pool import ConnectionPool

from cluster.database.errors import BY_CLASS, BY_SQLSTATE, translate, translated
from cluster.errors import ClusterError, Conflict, InvalidInput, Misconfigured, Permanent, Retryable, Unavailable


def exceptions() -> Iterator[type[psycopg.Error]]:
    for module in (psycopg, psycopg.errors, psycopg_pool):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, psycopg.Error) and not value.__name__.startswith("_"):
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
        (psycopg.errors.TooManyConnections, Unavailable),
        (psycopg.errors.DiskFull, Unavailable),
        (psycopg.errors.ReadOnlySqlTransaction, Unavailable),
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
def test_an_error_lands_on_its_branch(theirs: type[psycopg.Error], ours: type[ClusterError]) -> None:
    assert type(translate(theirs("what happened"))) is ours


def test_text_that_postgres_cannot_hold_is_the_callers_mistake(pool: ConnectionPool) -> None:
    with pytest.raises(InvalidInput, match="NUL") as caught, translated(), pool.connection() as connection:
        connection.execute("SELECT %s::text", ["a\0b"])
    assert isinstance(caught.value.__cause__, psycopg.DataError)


def test_a_server_that_is_not_there_may_come_back() -> None:
    with pytest.raises(Unavailable) as caught, translated():
        psycopg.connect("postgresql://nobody@127.0.0.1:1/nothing", connect_timeout=2)
    assert caught.value.retry_after_s is not None


@pytest.mark.parametrize("wrong", ["postgresql://cluster:guessed@", "postgresql://stranger:guessed@"])
def test_a_server_that_refuses_us_will_go_on_refusing(database_url: str, wrong: str) -> None:
    with pytest.raises(Misconfigured), translated():
        psycopg.connect(wrong + database_url.rpartition("@")[2])


def test_a_database_that_does_not_exist_will_not_come_by_waiting(database_url: str) -> None:
    with pytest.raises(Misconfigured), translated():
        psycopg.connect(database_url.replace("/postgres", "/nothing"))


def test_what_is_not_the_databases_passes_untouched() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("ours")
