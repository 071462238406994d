"""Bring a database to the schema of this code: numbered SQL files, each applied exactly once.

Migrations are only ever added. Each runs in a transaction of its own, and within it under a lock that lets one migrator in
at a time; a lock of the transaction, not of the session, so that it also holds through a connection pooler.

    migrate(url)
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from cluster.database import queue_schema
from cluster.database.errors import translated
from cluster.errors import Conflict, Misconfigured

log = structlog.get_logger(__name__)

#: Any number will do, as long as every migrator asks for the same.
LOCK = 7_236_411_905
NAME = re.compile(r"^(\d{4})_\w+\.sql$")
CONNECT_TIMEOUT_S = 10
MIN_POSTGRES, MIN_PGVECTOR = 15, (0, 8)
#: Any other holds not every text, or does not know where a character ends.
ENCODING = "UTF8"

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
    """Apply what is missing; names of the migrations that this call applied.

    Raises:
        Conflict: a migration was edited after it was applied, or the database is newer than this code.
        Misconfigured: Postgres or pgvector are too old, the encoding is not UTF-8, or the role may not do what a migration does.
        Unavailable: the database does not answer.
    """
    ours = migrations()
    done: list[str] = []
    with translated(), psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        _check_server(connection)
        connection.execute("SET client_min_messages = warning")
        while _missing(
            connection, ours
        ):  # as long as nothing is, no lock is taken and no right to create is needed
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                connection.execute(LEDGER)
                still = _missing(connection, ours)  # another migrator may have been faster
                if still:
                    _apply(connection, still[0])
                    done.append(still[0].name)
        if queue_schema.missing(connection):
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                queue_schema.apply(connection)  # nothing, where another migrator was faster
        _check_pgvector(connection)
    for name in done:
        log.info("migration_applied", migration=name)
    return done


def migrations() -> list[Migration]:
    """This code's migrations, in order."""
    found = []
    for file in (files("cluster.database") / "migrations").iterdir():
        match = NAME.match(file.name)
        if match:
            found.append(
                Migration(number=int(match[1]), name=file.name, sql=file.read_text(encoding="utf-8"))
            )
    return sorted(found, key=lambda migration: migration.number)


def _missing(connection: Connection[Any], ours: list[Migration]) -> list[Migration]:
    there = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if there != (True,):
        return ours
    applied = dict(connection.execute("SELECT number, sha256 FROM schema_migrations").fetchall())
    known = {migration.number: migration for migration in ours}
    newer = sorted(set(applied) - set(known))
    if newer:
        raise Conflict(
            f"the database has migration {newer[-1]}, which this version does not know: upgrade this installation"
        )
    for number, checksum in sorted(applied.items()):
        if known[number].sha256 != checksum:
            raise Conflict(
                f"migration {known[number].name} was edited after it was applied: restore the file, and put the change into a new migration"
            )
    return [migration for migration in ours if migration.number not in applied]


def _apply(connection: Connection[Any], migration: Migration) -> None:
    connection.execute(migration.sql)
    connection.execute(
        "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
        [migration.number, migration.name, migration.sha256],
    )


def _check_server(connection: Connection[Any]) -> None:
    version = connection.info.server_version // 10_000
    if version < MIN_POSTGRES:
        raise Misconfigured(
            f"this is PostgreSQL {version}, and {MIN_POSTGRES} or newer is needed: upgrade the server"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise Misconfigured(
            f"the encoding of this database is {encoding}, which does not hold every text: CREATE DATABASE with ENCODING '{ENCODING}' "
            "TEMPLATE template0, and name that one in CLUSTER_DATABASE_URL"
        )


def _check_pgvector(connection: Connection[Any]) -> None:
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    version = row[0] if row else "none"
    if not row or tuple(map(int, version.split(".")[:2])) < MIN_PGVECTOR:
        wanted = ".".join(map(str, MIN_PGVECTOR))
        raise Misconfigured(
            f"pgvector is {version} in this database, and {wanted} or newer is needed: install it and ALTER EXTENSION vector UPDATE"
        )
