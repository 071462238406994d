"""Updates a database to the schema of this code. A migration is a numbered SQL file that is applied once.

A migration must not change after it was applied, so a change of the schema needs a new file. Each migration
runs in its own transaction, under an advisory lock that one process at a time can hold. The lock belongs to
the transaction and not to the session, because only such a lock works through a connection pooler.

    migrate(url)
    plan(url).missing  # reads only
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.resources import files
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import Connection
from psycopg.errors import DeadlockDetected

from cluster.database import queue_schema, row_security
from cluster.database.errors import translated
from cluster.errors import Conflict, Misconfigured

T = TypeVar("T")

log = structlog.get_logger(__name__)

#: Key of the advisory lock. The number is arbitrary, but the same in every process that migrates.
LOCK = 7_236_411_905
NAME = re.compile(r"^(\d{4})_\w+\.sql$")
CONNECT_TIMEOUT_S = 10
#: Maximum number of attempts at a change that ends in deadlocks.
DEADLOCK_ATTEMPTS = 5
MIN_POSTGRES, MIN_PGVECTOR = 15, (0, 8)
#: Matches a statement that adds, changes or removes rows, or that changes or removes columns or tables. A
#: migration without such a statement only adds to the schema, so it leaves the stored data unchanged.
CHANGING = re.compile(
    r"\b(UPDATE\s+\w+(\s+AS\s+\w+)?\s+SET|DELETE\s+FROM|INSERT\s+INTO|TRUNCATE\s+\w+|DROP\s+(TABLE|COLUMN)"
    r"|ALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE)\b",
    re.IGNORECASE,
)
#: Matches the parts of a migration that ``CHANGING`` must ignore: bodies of functions, because functions run
#: later, and comments.
NOT_RUN = re.compile(r"\$(\w*)\$.*?\$\1\$|--[^\n]*", re.DOTALL)
#: Every database must have this encoding, because other encodings cannot hold every text, or do not know
#: where a character ends.
ENCODING = "UTF8"

BACKUP_ADVICE = "make a backup before an upgrade; python -m cluster.upgrade shows how"
MIGRATIONS_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)"""


#: Finds the tables that name an owner in the column "organisation", but do not refuse rows of a deleted
#: organisation. The tables of usage and of usage reports are left out. They accept such rows, because usage
#: is recorded shortly after the work, and a deleted organisation gets a last bill.
UNGUARDED_TABLES = """
SELECT reference.conrelid::regclass::text
FROM pg_constraint AS reference
JOIN pg_attribute AS owner ON owner.attrelid = reference.conrelid AND owner.attnum = reference.conkey[1]
WHERE reference.contype = 'f' AND reference.confrelid = to_regclass('organisations')
    AND owner.attname = 'organisation'
    AND reference.conrelid::regclass::text NOT IN ('usage_events', 'usage_reports')
    AND to_regprocedure('refuse_rows_of_deleted_organisations(regclass)') IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_trigger
        WHERE tgrelid = reference.conrelid AND tgname = 'organisation_is_not_deleted')
ORDER BY 1"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """Holds the text of one numbered SQL file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's text. It shows whether an applied migration was edited."""
        return sha256(self.sql.encode()).hexdigest()

    @property
    def changes_data(self) -> bool:
        """True if the migration has a statement that matches ``CHANGING``, so a backup first is advised."""
        return CHANGING.search(NOT_RUN.sub("", self.sql)) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class UpgradePlan:
    """Says what ``migrate`` will do to a database."""

    #: Number of migrations that the database has.
    applied: int
    #: Migrations that will be applied, in order.
    missing: list[Migration]

    @property
    def changing(self) -> list[str]:
        """Names of the missing migrations that change data. A new database has no data to change."""
        return [one.name for one in self.missing if one.changes_data] if self.applied else []


def plan(url: str) -> UpgradePlan:
    """Return what ``migrate`` will do to this database, and change nothing. The migrations of the queue
    (``queue_schema``) are not part of the plan.

    Raises:
        Conflict: a migration was edited after it was applied, or the database is newer than this code.
        Misconfigured: the server refuses the log-in.
        Unavailable: the database does not answer.
    """
    ours = migrations()
    with translated(), psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        missing = _missing(connection, ours)
    return UpgradePlan(applied=len(ours) - len(missing), missing=missing)


def migrate(url: str) -> list[str]:
    """Apply the missing migrations, also those of the queue (``queue_schema``). Return the names of the
    numbered migrations that this call applied.

    Raises:
        Conflict: a migration was edited after it was applied, or the database is newer than this code.
        Misconfigured: Postgres or pgvector is too old, the encoding is not UTF-8, the role lacks a privilege,
            or the server refuses the log-in.
        Unavailable: the database does not answer.
    """
    ours = migrations()
    done: list[str] = []
    with translated(), psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        _check_server(connection)
        connection.execute("SET client_min_messages = warning")
        _refuse_newer_queue(connection)
        missing = _missing(connection, ours)
        if changing := UpgradePlan(applied=len(ours) - len(missing), missing=missing).changing:
            log.warning("migrations_change_data", migrations=changing, advice=BACKUP_ADVICE)
        # If the schema is complete, this loop takes no lock and needs no privilege to create tables.
        while _missing(connection, ours):
            done += _locked(connection, partial(_apply_next, connection, ours))
        if queue_schema.missing(connection):
            # This changes nothing if another process has applied the migrations of the queue.
            _locked(connection, partial(queue_schema.apply, connection))
        if _unguarded(connection):
            _locked(connection, partial(_guard, connection))
        if row_security.incomplete(connection):
            _locked(connection, partial(row_security.complete, connection))
        _check_pgvector(connection)
    for name in done:
        log.info("migration_applied", migration=name)
    return done


def _locked(connection: Connection[Any], change: Callable[[], T]) -> T:
    """Change the schema in a transaction, while no other process does. Repeat it after a deadlock.

    Such a deadlock is possible with autovacuum: it holds a lock of a table and waits for the transaction that
    changed the table's row in ``pg_class``. Postgres then ends either of the two.
    """
    for attempt in range(1, DEADLOCK_ATTEMPTS + 1):
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                return change()
        except DeadlockDetected as exc:
            if attempt == DEADLOCK_ATTEMPTS:
                raise
            log.warning("migration_repeated", reason=str(exc).partition("\n")[0])
    raise AssertionError("the last attempt returns or raises")


def _apply_next(connection: Connection[Any], ours: list[Migration]) -> list[str]:
    """Apply the first missing migration, and return its name; nothing if another process applied the last."""
    connection.execute(MIGRATIONS_TABLE)
    missing = _missing(connection, ours)
    if missing:
        _apply(connection, missing[0])
    return [one.name for one in missing[:1]]


def _guard(connection: Connection[Any]) -> None:
    for table in _unguarded(connection):
        connection.execute("SELECT refuse_rows_of_deleted_organisations(%s::regclass)", [table])


def migrations() -> list[Migration]:
    """Return this code's migrations, in order."""
    found = []
    for file in (files("cluster.database") / "migrations").iterdir():
        match = NAME.match(file.name)
        if match:
            found.append(
                Migration(number=int(match[1]), name=file.name, sql=file.read_text(encoding="utf-8"))
            )
    return sorted(found, key=lambda migration: migration.number)


def _missing(connection: Connection[Any], ours: list[Migration]) -> list[Migration]:
    table = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if table != (True,):
        return ours
    applied = dict(connection.execute("SELECT number, sha256 FROM schema_migrations").fetchall())
    known = {migration.number: migration for migration in ours}
    if newer := set(applied) - set(known):
        raise Conflict(
            f"the database has migration {max(newer)}, but the last one of this release is {max(known)}: "
            "install the release that upgraded the database, or restore a backup from before"
        )
    for number, checksum in sorted(applied.items()):
        if known[number].sha256 != checksum:
            raise Conflict(
                f"migration {known[number].name} was edited after it was applied: restore the file, "
                "and put the change into a new migration"
            )
    return [migration for migration in ours if migration.number not in applied]


def _refuse_newer_queue(connection: Connection[Any]) -> None:
    if newer := queue_schema.newer(connection):
        raise Conflict(
            f"the tables of the queue have migration {newer[-1]}, which this Procrastinate does not know: "
            "install the release that upgraded the database, or restore a backup from before"
        )


def _apply(connection: Connection[Any], migration: Migration) -> None:
    connection.execute(migration.sql)
    connection.execute(
        "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
        [migration.number, migration.name, migration.sha256],
    )


def _unguarded(connection: Connection[Any]) -> list[str]:
    """Return the tables of organisations that would accept rows of a deleted organisation.

    With this list, ``migrate`` adds the trigger that refuses such rows, so a migration that adds a table does
    not have to add the trigger.
    """
    return [table for (table,) in connection.execute(UNGUARDED_TABLES)]


def _check_server(connection: Connection[Any]) -> None:
    version = connection.info.server_version // 10_000
    if version < MIN_POSTGRES:
        raise Misconfigured(
            f"the database server is PostgreSQL {version}, and {MIN_POSTGRES} or newer is needed: upgrade it"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise Misconfigured(
            f"the encoding of this database is {encoding}, which does not hold every text: create one with "
            f"ENCODING '{ENCODING}' TEMPLATE template0, and name it in CLUSTER_DATABASE_URL"
        )


def _check_pgvector(connection: Connection[Any]) -> None:
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    version = row[0] if row else "none"
    if not row or tuple(map(int, version.split(".")[:2])) < MIN_PGVECTOR:
        wanted = ".".join(map(str, MIN_PGVECTOR))
        raise Misconfigured(
            f"pgvector is {version} in this database, and {wanted} or newer is needed: install it, "
            "then run ALTER EXTENSION vector UPDATE"
        )
