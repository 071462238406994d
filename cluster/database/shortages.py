"""Announces the shortages of the cluster's processes in a way that works while nothing can be written.

A database with a full disk, or a standby, accepts no row. So a process that waits holds a shared advisory
lock of its session, which is in the server's memory and ends with the connection. Workers hold such locks
(``data_jobs.worker.shortages``); the endpoint, the metrics and the doctor read them.

    announce(connection, {Resource.DATABASE_DISK})
    announced(connection)                            # {Resource.DATABASE_DISK}
"""

from collections.abc import Collection
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.errors import Resource

SQL = queries("cluster.database", "shortages.sql")
#: The first of the lock's two numbers, which nothing else uses. The second is the index in ``CODES``, which
#: only grows.
NAMESPACE = 723_641
CODES = (
    Resource.DATABASE_DISK,
    Resource.DATABASE_WRITES,
    Resource.DATABASE_CONNECTIONS,
    Resource.DATABASE_MEMORY,
    Resource.BLOB_STORE,
    Resource.OWN_DISK,
)


def announce(connection: Connection[Any], short: Collection[Resource]) -> None:
    """Announce that these resources are short, and no others, until the session of the connection ends."""
    connection.execute(SQL["withdraw"])
    for resource in short:
        connection.execute(SQL["announce"], {"namespace": NAMESPACE, "code": CODES.index(resource)})


def announced(connection: Connection[Any]) -> set[Resource]:
    """The resources that some process of this database waits for now."""
    rows = connection.execute(SQL["announced"], {"namespace": NAMESPACE}).fetchall()
    return {CODES[code] for (code,) in rows if code < len(CODES)}
