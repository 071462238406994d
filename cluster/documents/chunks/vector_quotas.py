"""Compare the counted vectors of limited organisations and keys with the stored vectors, and count again.

Triggers of the chunk tables keep the counts (migration 0024). During a rolling update, a process of the
previous release can create a chunk table without these triggers. The doctor calls this module.

    for organisation, key in miscounted(pool):
        recount(connection, organisation, key)
"""

from typing import Any

from psycopg import Connection, sql
from psycopg_pool import ConnectionPool

from cluster.database import snapshot
from cluster.database.queries import queries

SQL = queries("cluster.documents.chunks", "vector_quotas.sql")


def miscounted(pool: ConnectionPool) -> list[tuple[str, str]]:
    """Return the organisation and the key of each wrong count. The key is empty for the count of an
    organisation.
    """
    with snapshot(pool) as connection:
        tables = [name for (name,) in connection.execute(SQL["chunk_tables_of_all"])]
        counts = connection.execute(SQL["list_of_all"]).fetchall()
        return [
            (organisation, key)
            for organisation, key, counted in counts
            if counted != sum(_stored(connection, table, organisation, key) for table in tables)
        ]


def recount(connection: Connection[Any], organisation: str, key: str) -> None:
    """Count the vectors again, in the caller's transaction. Writers of vectors wait until it ends."""
    connection.execute(SQL["recount"], {"organisation": organisation, "key": key})


def _stored(connection: Connection[Any], collection: str, organisation: str, key: str) -> int:
    statement = sql.SQL(SQL["count"]).format(table=sql.Identifier(f"vectors_{collection}"))
    row = connection.execute(statement, {"organisation": organisation, "key": key}).fetchone()
    assert row is not None
    return int(row[0])
