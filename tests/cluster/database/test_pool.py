"""Every connection of a pool is set up alike, and the pool recovers together with the database."""

import select
import socket
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import bundled, open_pool, revive, single_statements, snapshot, translated
from cluster.database import pool as module
from cluster.database.row_access import OWNER
from cluster.errors import Misconfigured, Unavailable
from cluster.settings import Settings
from tests.conftest import NewHome, free_ports, kill_postmaster
from tests.waiting import LONGEST_WAIT_S, Stopwatch


def value(pool: ConnectionPool, statement: str) -> object:
    with translated(), pool.connection() as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def test_every_connection_is_ready_for_vectors_and_has_a_name(pool: ConnectionPool) -> None:
    for statement, expected in {
        "SHOW hnsw.iterative_scan": "strict_order",
        "SHOW application_name": "embedding-cluster",
        "SHOW tcp_keepalives_idle": "10",
        "SHOW tcp_user_timeout": "30000",
        "SELECT count(*) FROM organisations WHERE id = 'default'": 1,
    }.items():
        assert value(pool, statement) == expected
    vector = value(pool, "SELECT '[1,2,3]'::vector")
    assert vector.to_list() == [1, 2, 3]  # type: ignore[attr-defined]


def test_a_connection_that_died_in_the_pool_is_replaced_before_its_next_use(pool: ConnectionPool) -> None:
    with pool.connection() as connection:
        pid, place = connection.info.backend_pid, connection.fileno()
    with psycopg.connect(pool._resolve_conninfo(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    select.select([place], [], [])  # the server says goodbye a moment after it was told to
    assert value(pool, "SELECT 1") == 1


def test_only_a_connection_that_was_idle_is_checked_with_a_round_trip(
    settings: Settings, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = settings.model_copy(update={"database_pool_size": 1})
    with open_pool(one, access=OWNER) as own, pool.connection() as other:
        other.autocommit = True

        def last_statement() -> object:
            query = "SELECT state_change FROM pg_stat_activity WHERE pid = %s"
            return other.execute(query, [pid]).fetchone()

        with own.connection() as connection:
            pid = connection.info.backend_pid
            connection.execute("SELECT 1")
        before = last_statement()
        with own.connection():
            assert last_statement() == before
        monkeypatch.setattr(module, "USED_LATELY_S", 0.0)
        with own.connection():
            assert last_statement() != before
        other.autocommit = False


def lose(settings: Settings, pool: ConnectionPool) -> None:
    """Kill the postmaster with SIGKILL, and use the pool until it raises."""
    kill_postmaster(settings)
    with pytest.raises(Unavailable):
        use_until_it_raises(pool)


def use_until_it_raises(pool: ConnectionPool) -> None:
    while True:
        with translated(), pool.connection(timeout=0.5) as connection:
            connection.execute("SELECT 1")


def test_the_pool_works_again_after_the_server_was_killed_and_revived(new_home: NewHome) -> None:
    settings = new_home("revived", with_database=True)
    with open_pool(settings, access=OWNER) as pool:
        for _ in range(3):
            lose(settings, pool)
            began = Stopwatch()
            revive(settings, pool)
            assert value(pool, "SELECT 1") == 1
            assert began.seconds() < module.RECONNECT_TIMEOUT_S
    bundled.stop(settings)


def test_the_pool_follows_the_server_to_another_port(new_home: NewHome) -> None:
    settings = new_home("moved", with_database=True)
    with open_pool(settings, access=OWNER) as pool, socket.socket() as other:
        lose(settings, pool)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = bundled.status(settings).port
        other.bind(("127.0.0.1", port))
        other.listen()
        revive(settings, pool)
        assert bundled.status(settings).port != port
        assert value(pool, "SELECT 1") == 1
    bundled.stop(settings)


def test_an_open_pool_does_not_restart_a_stopped_server(new_home: NewHome) -> None:
    settings = new_home("stopped", with_database=True)
    with open_pool(settings, access=OWNER) as pool:
        bundled.stop(settings)
        with pytest.raises(Unavailable), translated(), pool.connection(timeout=1.5):
            pass
        assert bundled.status(settings).running is False


def test_the_configured_database_is_used(settings: Settings, database_url: str) -> None:
    elsewhere = Settings(home=settings.home / "unused", database_url=database_url)
    with open_pool(elsewhere, access=OWNER) as pool:
        assert value(pool, "SELECT 1") == 1
    assert not elsewhere.home.exists()


def test_an_unavailable_database_and_a_refused_log_in_are_named(
    settings: Settings, database_url: str
) -> None:
    with pytest.raises(Unavailable):
        open_pool(
            Settings(home=settings.home, database_url="postgresql://cluster@127.0.0.1:1/postgres"),
            access=OWNER,
        )
    with pytest.raises(Misconfigured, match="password"):
        open_pool(
            Settings(home=settings.home, database_url=database_url.replace("cluster:", "cluster:not")),
            access=OWNER,
        )


def test_a_caller_of_a_reviving_pool_restarts_the_server_at_once(
    new_home: NewHome,
) -> None:
    settings = new_home("asked", with_database=True)
    with open_pool(settings, reviving=True, access=OWNER) as pool:
        lose_all(settings, pool)
        began = Stopwatch()
        assert value(pool, "SELECT 1") == 1
        assert began.seconds() < module.RECONNECT_TIMEOUT_S / 2
    bundled.stop(settings)


def lose_all(settings: Settings, pool: ConnectionPool) -> None:
    """Fill the pool with idle connections, kill the postmaster, and wait for the end of every backend."""
    connections = [pool.getconn() for _ in range(settings.database_pool_size)]
    for connection in connections:
        pool.putconn(connection)
    kill_postmaster(settings)
    for connection in connections:
        assert select.select([connection], [], [], LONGEST_WAIT_S)[0], "a backend outlives its postmaster"


def test_a_pool_of_dead_connections_serves_the_next_caller_of_a_restarted_server_at_once(
    new_home: NewHome,
) -> None:
    settings = new_home("restarted", with_database=True)
    with open_pool(settings, access=OWNER) as pool:
        lose_all(settings, pool)
        bundled.start(settings)
        began = Stopwatch()
        with pool.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert began.seconds() < 3


def test_a_single_statement_is_a_transaction_of_its_own_and_leaves_its_connection_as_it_was(
    settings: Settings,
) -> None:
    def transactions(connection: psycopg.Connection[Any]) -> int:
        return len({connection.execute("SELECT pg_current_xact_id()::text").fetchone() for _ in range(2)})

    with open_pool(settings.model_copy(update={"database_pool_size": 1}), access=OWNER) as one:
        with single_statements(one) as connection:
            assert transactions(connection) == 2
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute("SELECT 1 / 0")
        with one.connection() as connection:
            assert transactions(connection) == 1


def test_a_snapshot_sees_one_state_writes_nothing_and_leaves_its_connection_as_it_was(
    settings: Settings, pool: ConnectionPool
) -> None:
    with open_pool(settings.model_copy(update={"database_pool_size": 1}), access=OWNER) as one:
        with pool.connection() as other:
            other.execute("CREATE TABLE IF NOT EXISTS seen (n int)")
            other.execute("TRUNCATE seen")
        with snapshot(one) as connection:
            assert connection.execute("SELECT count(*) FROM seen").fetchone() == (0,)
            with pool.connection() as other:
                other.execute("INSERT INTO seen VALUES (1)")
            assert connection.execute("SELECT count(*) FROM seen").fetchone() == (0,)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("DELETE FROM seen")
        with one.connection() as connection:
            assert connection.execute("DELETE FROM seen").rowcount == 1
            assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
            connection.execute("DROP TABLE seen")


def test_a_url_with_two_hosts_reaches_the_one_that_takes_writes(
    settings: Settings, database_url: str, pool: ConnectionPool
) -> None:
    port = database_url.rpartition(":")[2]
    standby = f"127.0.0.1:{free_ports(1)[0]}"
    url = database_url.replace("@127.0.0.1:", f"@{standby},127.0.0.1:") + "?target_session_attrs=read-write"
    assert f"{standby},127.0.0.1:{port}" in url

    with open_pool(settings.model_copy(update={"database_url": SecretStr(url)}), access=OWNER) as two:
        assert value(two, "SHOW transaction_read_only") == "off"
