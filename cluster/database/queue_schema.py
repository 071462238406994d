"""Creates Procrastinate's own tables, and brings them up to the installed version of the package.

Called by ``migrate`` under its lock. Procrastinate names its migrations by the version that they came with.
The table ``queue_migrations`` lists those that a database has.

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
#: Procrastinate looks for other entries with the lock of each candidate. Without this index it would compare
#: ten thousand waiting entries of one organisation with each other.
LOCK_INDEX = """
CREATE INDEX IF NOT EXISTS queue_entries_lock ON procrastinate_jobs (lock, priority DESC, id)
WHERE status IN ('todo', 'doing') AND lock IS NOT NULL"""


def missing(connection: Connection[Any]) -> list[str]:
    """Names of Procrastinate's migrations that are not applied yet; for a new database, all of them."""
    there = connection.execute("SELECT to_regclass('queue_migrations') IS NOT NULL").fetchone()
    applied = (
        {name for (name,) in connection.execute("SELECT name FROM queue_migrations")}
        if there == (True,)
        else set()
    )
    return [name for name in _names() if name not in applied]


def apply(connection: Connection[Any]) -> None:
    """Apply all missing migrations, in the caller's transaction."""
    # First, so that Postgres notices tables which others created while this transaction waited for the lock.
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


def _folder() -> Path:
    return Path(SchemaManager.get_migrations_path())


def _names() -> list[str]:
    return sorted(file.name for file in _folder().glob("*.sql"))
