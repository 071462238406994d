"""The queue's own tables, as the package procrastinate brings them: made once, and brought up to the
installed version after.

Called by ``migrate`` under its lock. Procrastinate names its migrations by the version they came with; which
of them a database has is kept in ``queue_migrations``.

    while missing(connection): apply(connection)
"""

from pathlib import Path
from typing import Any

from procrastinate.schema import SchemaManager
from psycopg import Connection

LEDGER = """
CREATE TABLE IF NOT EXISTS queue_migrations (
    name        text PRIMARY KEY,
    applied_at  timestamptz NOT NULL DEFAULT now()
)"""
#: The queue looks for other entries with the lock of each candidate: without this index, ten thousand waiting
#: entries of one organisation would be compared with each other.
LOCK_INDEX = """
CREATE INDEX IF NOT EXISTS queue_entries_lock ON procrastinate_jobs (lock, priority DESC, id)
WHERE status IN ('todo', 'doing') AND lock IS NOT NULL"""


def missing(connection: Connection[Any]) -> list[str]:
    """Names of procrastinate's migrations that this database does not have; all of them before the first
    time.
    """
    there = connection.execute("SELECT to_regclass('queue_migrations') IS NOT NULL").fetchone()
    applied = (
        {name for (name,) in connection.execute("SELECT name FROM queue_migrations")}
        if there == (True,)
        else set()
    )
    return [name for name in _names() if name not in applied]


def apply(connection: Connection[Any]) -> None:
    """Everything that is missing, in the caller's transaction."""
    connection.execute(
        LEDGER
    )  # first: it has Postgres notice tables that others made while this transaction waited for its turn
    names = missing(connection)
    if len(names) == len(_names()):
        connection.execute(SchemaManager.get_schema().encode())
        connection.execute(LOCK_INDEX)
    else:
        for name in names:
            connection.execute((_folder() / name).read_bytes())
    connection.cursor().executemany(
        "INSERT INTO queue_migrations (name) VALUES (%s)", [(name,) for name in names]
    )


def _folder() -> Path:
    return Path(SchemaManager.get_migrations_path())


def _names() -> list[str]:
    return sorted(file.name for file in _folder().glob("*.sql"))
