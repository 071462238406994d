"""Creates the tables of Procrastinate (the job queue), or updates them to the installed version.

``migrate`` calls this module while it holds the migration lock. The name of each Procrastinate migration
contains the version that introduced the migration. The table ``queue_migrations`` lists the migrations that a
database has.

    if missing(connection): apply(connection)
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
#: For each candidate entry, Procrastinate searches for other entries with the same lock. Without this index,
#: ten thousand waiting entries of one organisation would each be compared with all other entries.
LOCK_INDEX = """
CREATE INDEX IF NOT EXISTS queue_entries_lock ON procrastinate_jobs (lock, priority DESC, id)
WHERE status IN ('todo', 'doing') AND lock IS NOT NULL"""


def missing(connection: Connection[Any]) -> list[str]:
    """Return the names of the Procrastinate migrations that this database does not have yet."""
    applied = _applied(connection)
    return [name for name in _names() if name not in applied]


def newer(connection: Connection[Any]) -> list[str]:
    """Return the names of the applied migrations that the installed Procrastinate does not know."""
    return sorted(_applied(connection) - set(_names()))


def apply(connection: Connection[Any]) -> None:
    """Apply all missing migrations, in the caller's transaction. A new database gets the whole schema."""
    # This statement comes first, because it makes Postgres notice tables that other processes created while
    # this transaction waited for the lock.
    connection.execute(LEDGER)
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


def _applied(connection: Connection[Any]) -> set[str]:
    there = connection.execute("SELECT to_regclass('queue_migrations') IS NOT NULL").fetchone()
    if there != (True,):
        return set()
    return {name for (name,) in connection.execute("SELECT name FROM queue_migrations")}


def _folder() -> Path:
    return Path(SchemaManager.get_migrations_path())


def _names() -> list[str]:
    return sorted(file.name for file in _folder().glob("*.sql"))
