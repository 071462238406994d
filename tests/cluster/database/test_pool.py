"""A process' connections are set up the same way each, and come back with the database."""

import select
import socket
import time

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from cluster.database import bundled, open_pool, revive, translated
from cluster.database import pool as module
from cluster.errors import Misconfigured, Unavailable
from cluster.settings import Settings
from tests.conftest import NewHome, kill_postmaster


def value(pool: ConnectionPool, statement: str) -> object:
    with translated(), pool.connection() as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def test_every_connection_is_ready_for_vectors_and_says_who_it_is(pool: ConnectionPool) -> None:
    for statement, expected in {
        "SHOW hnsw.iterative_scan": "strict_order",
        "SHOW application_name": "embedding-cluster",
        "SELECT count(*) FROM organisations WHERE id = 'default'": 1,
    }.items():
        assert value(pool, statement) == expected
    vector = value(pool, "SELECT '[1,2,3]'::vector")
    assert vector.to_list() == [1, 2, 3]  # type: ignore[attr-defined]


def test_a_connection_that_died_in_the_pool_is_replaced_before_anybody_gets_it(pool: ConnectionPool) -> None:
    with pool.connection() as connection:
        pid = connection.info.backend_pid
    with pool.connection() as connection, psycopg.connect(pool._resolve_conninfo(), autocommit=True) as other:
        del connection
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert value(pool, "SELECT 1") == 1


def lose(settings: Settings, pool: ConnectionPool) -> None:
    """kill -9 of the postmaster, and use of the pool until it is felt."""
    kill_postmaster(settings)
    with pytest.raises(Unavailable):
        use_for_ever(pool)


def use_for_ever(pool: ConnectionPool) -> None:
    while True:
        with translated(), pool.connection(timeout=0.5) as connection:
            connection.execute("SELECT 1")


def test_the_pool_works_again_after_the_server_was_killed_and_revived(new_home: NewHome) -> None:
    settings = new_home("revived")
    with open_pool(settings) as pool:
        for _ in range(3):
            lose(settings, pool)
            began = time.monotonic()
            revive(settings, pool)
            assert value(pool, "SELECT 1") == 1
            assert time.monotonic() - began < module.RECONNECT_TIMEOUT_S
    bundled.stop(settings)


def test_the_pool_follows_the_server_to_another_port(new_home: NewHome) -> None:
    settings = new_home("moved")
    with open_pool(settings) as pool, socket.socket() as other:
        lose(settings, pool)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = bundled.status(settings).port
        other.bind(("127.0.0.1", port))
        other.listen()
        revive(settings, pool)
        assert bundled.status(settings).port != port
        assert value(pool, "SELECT 1") == 1
    bundled.stop(settings)


def test_a_pool_that_is_left_over_does_not_bring_a_stopped_server_back(new_home: NewHome) -> None:
    settings = new_home("stopped")
    with open_pool(settings) as pool:
        bundled.stop(settings)
        with pytest.raises(Unavailable), translated(), pool.connection(timeout=1.5):
            pass
        assert bundled.status(settings).running is False


def test_another_database_is_used_where_one_is_named(settings: Settings, database_url: str) -> None:
    elsewhere = Settings(home=settings.home / "unused", database_url=database_url)
    with open_pool(elsewhere) as pool:
        assert value(pool, "SELECT 1") == 1
    assert not elsewhere.home.exists()


def test_a_database_that_is_away_or_refuses_us_says_so(settings: Settings, database_url: str) -> None:
    with pytest.raises(Unavailable):
        open_pool(Settings(home=settings.home, database_url="postgresql://cluster@127.0.0.1:1/postgres"))
    with pytest.raises(Misconfigured, match="password"):
        open_pool(Settings(home=settings.home, database_url=database_url.replace("cluster:", "cluster:not")))


def test_who_asks_a_reviving_pool_waits_for_the_server_and_not_for_the_pool_to_give_up(
    new_home: NewHome,
) -> None:
    settings = new_home("asked")
    with open_pool(settings, reviving=True) as pool:
        lose_all(settings, pool)
        began = time.monotonic()
        assert value(pool, "SELECT 1") == 1
        assert time.monotonic() - began < module.RECONNECT_TIMEOUT_S / 2
    bundled.stop(settings)


def lose_all(settings: Settings, pool: ConnectionPool) -> None:
    """kill -9 of the postmaster while the pool has as many connections as it may, none of them in use, until every backend has left."""
    connections = [pool.getconn() for _ in range(settings.database_pool_size)]
    for connection in connections:
        pool.putconn(connection)
    kill_postmaster(settings)
    for connection in connections:
        assert select.select([connection], [], [], 10)[0], "a backend outlives its postmaster"


def test_a_pool_of_dead_connections_serves_the_next_caller_at_once_when_the_server_is_back(
    new_home: NewHome,
) -> None:
    settings = new_home("restarted")
    with open_pool(settings) as pool:
        lose_all(settings, pool)
        bundled.start(settings)
        began = time.monotonic()
        with pool.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert time.monotonic() - began < 3
