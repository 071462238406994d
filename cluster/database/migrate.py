"""Bring a database to the schema of this code: numbered SQL files, each applied exactly once.

Migrations are only ever added. Each runs in a transaction of its own, under a lock that lets one migrator in at a time.

    migrate(url)
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import psycopg
import structlog

from cluster.database.errors import translated
from cluster.errors import Conflict

log = structlog.get_logger(__name__)

#: Any number will do, as long as every migrator asks for the same.
LOCK = 7_236_411_905
NAME = re.compile(r"^(\d{4})_\w+\.sql$")

LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Of the file's text: an applied migration must not change."""
        return sha256(self.sql.encode()).hexdigest()


def migrate(url: str) -> list[str]:
    """Apply what is missing; names of the migrations applied now.

    Raises:
        Conflict: a migration was edited after it was applied, or the database is newer than this code.
        Unavailable: the database does not answer.
    """
    with translated(), psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # let go when the connection ends, however it ends
        connection.execute("SET client_min_messages = warning")
        connection.execute(LEDGER)
        applied = dict(connection.execute("SELECT number, sha256 FROM schema_migrations").fetchall())
        ours = migrations()
        _check(applied, ours)
        missing = [migration for migration in ours if migration.number not in applied]
        for migration in missing:
            with connection.transaction():
                connection.execute(migration.sql)
                connection.execute(
                    "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
                    [migration.number, migration.name, migration.sha256],
                )
            log.info("migration_applied", migration=migration.name)
    return [migration.name for migration in missing]


def migrations() -> list[Migration]:
    """This code's migrations, in order."""
    folder = files("cluster.database") / "migrations"
    found = []
    for file in folder.iterdir():
        match = NAME.match(file.name)
        if match:
            found.append(Migration(number=int(match[1]), name=file.name, sql=file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def _check(applied: dict[int, str], ours: list[Migration]) -> None:
    known = {migration.number: migration for migration in ours}
    newer = sorted(set(applied) - set(known))
    if newer:
        raise Conflict(f"the database has migration {newer[-1]}, which this version does not know: upgrade this installation")
    for number, digest in applied.items():
        if known[number].sha256 != digest:
            raise Conflict(f"migration {known[number].name} was edited after it was applied; restore the file and add a new migration")
