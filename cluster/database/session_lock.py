"""Provides a named lock that one database session at a time holds, for work outside any transaction.

with alone(pool, "vectors_m_minilm_hnsw") as connection:
    if connection is not None:
        connection.execute("CREATE INDEX CONCURRENTLY ...")
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database.errors import translated


@contextmanager
def alone(pool: ConnectionPool, name: str) -> Iterator[Connection[Any] | None]:
    """Yield a connection in autocommit mode that holds the lock, or None if another session holds the lock.

    This function never waits for the lock. A waiting session holds a snapshot, and CREATE INDEX CONCURRENTLY
    waits for all snapshots to end, so both sessions would wait for each other (a deadlock).
    """
    with translated(), pool.connection() as connection:
        connection.autocommit = True
        try:
            row = connection.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]
            ).fetchone()
            held = bool(row and row[0])
            try:
                yield connection if held else None
            finally:
                if held and not connection.closed:
                    connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])
        finally:
            if not connection.closed:
                connection.autocommit = False
