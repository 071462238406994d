"""Announces which resources the cluster's processes wait for, even while the database accepts no writes.

A database with a full disk, or a standby, accepts no row. So a waiting process announces the shortage with a
shared advisory lock of its session. The lock is in the server's memory and ends with the connection. Workers
hold such locks (``data_jobs.worker.shortages``); the endpoint, the metrics and the doctor read these locks.

    announce(connection, {Resource.DATABASE_DISK})
    announced(connection)                            # {Resource.DATABASE_DISK}
"""

from collections.abc import Collection
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.errors import Resource

SQL = queries("cluster.database", "shortages.sql")
#: The first of the two numbers that identify a lock of this module. No other kind of lock uses this number.
#: The second number is the index of the resource in ``CODES``.
NAMESPACE = 723_641
#: Resources by their number in the lock. New resources are added at the end only, so that a number means the
#: same resource in every release.
CODES = (
    Resource.DATABASE_DISK,
    Resource.DATABASE_WRITES,
    Resource.DATABASE_CONNECTIONS,
    Resource.DATABASE_MEMORY,
    Resource.BLOB_STORE,
    Resource.OWN_DISK,
)


def announce(connection: Connection[Any], short: Collection[Resource]) -> None:
    """Announce that exactly these resources are short, until the next call or the end of the session.

    The function first releases all advisory locks of the session, so the session must hold no others.
    """
    connection.execute(SQL["withdraw"])
    for resource in short:
        connection.execute(SQL["announce"], {"namespace": NAMESPACE, "code": CODES.index(resource)})


def announced(connection: Connection[Any]) -> set[Resource]:
    """Return the resources that at least one process of this database waits for now."""
    rows = connection.execute(SQL["announced"], {"namespace": NAMESPACE}).fetchall()
    return {CODES[code] for (code,) in rows if code < len(CODES)}
