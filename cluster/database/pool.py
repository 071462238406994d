"""Connections to the one Postgres, for one process.

pool = open_pool(settings)
with translated(), pool.connection() as connection:
    connection.execute(...)
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg_pool import ConnectionPool, PoolTimeout

from cluster.database import bundled
from cluster.database.errors import translated
from cluster.database.migrate import migrate
from cluster.settings import Settings

#: How long a caller waits for a connection; beyond it the database counts as away.
CHECKOUT_TIMEOUT_S = 10.0
#: After so long a search for a lost database the pool rests until somebody asks. The waits between its looks double, so a
#: longer search would also find a database that is back the later.
RECONNECT_TIMEOUT_S = 10.0
#: By this name the server knows our connections.
APPLICATION = "embedding-cluster"
#: A database whose host vanished is noticed after about half a minute, not after the kernel's two hours.
CONNECTION = {
    "application_name": APPLICATION,
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}


class TellingPool(ConnectionPool):
    """A pool whose time-outs say why the server refuses connections. The base class connects in its own threads and only logs that."""

    #: What the server said to the last attempt to connect; None where that went well.
    refusal: str | None = None

    def getconn(self, timeout: float | None = None) -> psycopg.Connection[Any]:
        """A connection.

        Raises:
            PoolTimeout: with the server's own words, where it has refused new connections.
        """
        try:
            return super().getconn(timeout)
        except PoolTimeout as exc:
            if self.refusal is None:
                raise
            raise PoolTimeout(f"{exc}; {self.refusal}") from exc


def open_pool(settings: Settings, *, reviving: bool = False) -> ConnectionPool:
    """A pool on the settings' database, started if it is the bundled one, with the schema of this code.

    Threads share it; a process needs one, and closes it.

    Args:
        reviving: who asks for a connection and finds the bundled server killed starts it, and need not wait until the pool gives up.

    Raises:
        Unavailable: the database does not answer.
        Conflict: its schema is not one this code can work with.
        Misconfigured: it is too old, or refuses us.
    """
    migrate(database_url(settings))

    def check(connection: psycopg.Connection[Any]) -> None:
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.Error:
            if reviving:
                database_url(settings)
            # Where one is dead the others are, too, and the pool would wait twice as long after each before it looks at the next.
            pool.check()
            raise

    pool = TellingPool(
        # Asked again for each connection: after a restart the bundled server may listen on another port.
        lambda: _current_url(settings),
        connection_class=_connections(lambda refusal: setattr(pool, "refusal", refusal)),
        kwargs=CONNECTION,
        min_size=1,
        max_size=settings.database_pool_size,
        timeout=CHECKOUT_TIMEOUT_S,
        reconnect_timeout=RECONNECT_TIMEOUT_S,
        configure=_configure,
        check=check,
        open=False,
    )
    with ExitStack() as undo:
        undo.callback(pool.close)  # or its threads go on looking for the database
        with translated():
            pool.open(wait=True, timeout=CHECKOUT_TIMEOUT_S)
        undo.pop_all()
    return pool


def _connections(tell: Callable[[str | None], object]) -> type[psycopg.Connection[Any]]:
    """A class of connections that tell each attempt's end: None, or why the server refused it."""

    class Connection(psycopg.Connection[Any]):
        @classmethod
        def connect(cls, *where: Any, **how: Any) -> Any:
            try:
                made = super().connect(*where, **how)
            except psycopg.OperationalError as exc:
                tell(str(exc).strip())
                raise
            tell(None)
            return made

    return Connection


@contextmanager
def snapshot(pool: ConnectionPool) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose every query sees one and the same state of the database, the one of its first; it writes nothing."""
    with pool.connection() as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


def database_url(settings: Settings) -> str:
    """URL of the settings' database; the bundled one is running when this returns.

    Raises:
        Unavailable: the bundled one does not start.
        Misconfigured: it cannot.
    """
    return settings.database_url.get_secret_value() if settings.database_url else bundled.start(settings)


def revive(settings: Settings, pool: ConnectionPool) -> None:
    """After the database went away: start it again if it is the bundled one, and have the pool replace its dead connections.

    Raises:
        Unavailable: the bundled one does not start.
        Misconfigured: it cannot.
    """
    if settings.database_url is None:
        bundled.start(settings)
    with translated():
        pool.check()


def _current_url(settings: Settings) -> str:
    """Starts nothing: a pool that outlives ``make down`` must not bring the server back."""
    return settings.database_url.get_secret_value() if settings.database_url else bundled.url(settings)


def _configure(connection: psycopg.Connection[Any]) -> None:
    register_vector(connection)
    # A filtered search goes on through the HNSW graph until it has k rows: recall@10 0.997 instead of 0.39.
    connection.execute("SET hnsw.iterative_scan = strict_order")
    connection.commit()
