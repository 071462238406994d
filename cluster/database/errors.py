"""Translates the errors of psycopg into errors of this project.

Every call of the database runs inside a ``with translated()`` block.

with translated():
    connection.execute(...)
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool

from cluster.errors import (
    ClusterError,
    Conflict,
    InvalidInput,
    Misconfigured,
    Permanent,
    QuotaExceeded,
    Resource,
    Retryable,
    Shortage,
    Unavailable,
)

#: Our error type by SQLSTATE (PostgreSQL manual, appendix A). The whole code is looked up first, then the
#: class of the code, which is its first two characters.
BY_SQLSTATE: dict[str, type[ClusterError]] = {
    "02": Permanent,  # no data
    "03": Permanent,  # SQL statement not yet complete
    "08": Unavailable,  # connection exception
    "09": Permanent,  # triggered action exception
    "0A": Permanent,  # feature not supported
    "0B": Permanent,  # invalid transaction initiation
    "0F": Permanent,  # locator exception
    "0L": Permanent,  # invalid grantor
    "0P": Misconfigured,  # invalid role specification
    "0Z": Permanent,  # diagnostics exception
    "10": Permanent,  # XQuery error
    "20": Permanent,  # case not found
    "21": Permanent,  # cardinality violation
    "22": InvalidInput,  # data exception: a value Postgres cannot hold, such as text with a NUL
    "23": Conflict,  # integrity constraint violation
    "24": Permanent,  # invalid cursor state
    "25": Permanent,  # invalid transaction state
    "25006": Shortage,  # read-only transaction: a standby after a failover, default_transaction_read_only
    "25P03": Unavailable,  # idle in transaction for too long: the server closed the connection
    "25P04": Unavailable,  # transaction timeout: the server closed the connection
    "26": Permanent,  # invalid SQL statement name
    "27": Permanent,  # triggered data change violation
    "28": Misconfigured,  # invalid authorisation
    "2B": Permanent,  # dependent privilege descriptors still exist
    "2D": Permanent,  # invalid transaction termination
    "2F": Permanent,  # SQL routine exception
    "34": Permanent,  # invalid cursor name
    "38": Permanent,  # external routine exception
    "39": Permanent,  # external routine invocation exception
    "3B": Permanent,  # savepoint exception
    "3D": Misconfigured,  # invalid catalogue name: no such database
    "3F": Misconfigured,  # invalid schema name
    "40": Retryable,  # transaction rollback: serialisation failure, deadlock
    "42": Permanent,  # syntax error or access rule violation
    "42501": Misconfigured,  # insufficient privilege
    "42P01": Misconfigured,  # undefined table: this is not our schema
    "44": Permanent,  # WITH CHECK OPTION violation
    "53": Shortage,  # insufficient resources: disk, memory, connections
    "54": Permanent,  # program limit exceeded
    "55": Retryable,  # object not in prerequisite state: in use, lock not available
    "55P02": Misconfigured,  # a parameter that only a restart changes
    "57": Unavailable,  # operator intervention: shutdown, crash, starting up
    "57014": Retryable,  # query cancelled, by a timeout or an operator
    "57P04": Misconfigured,  # the database was dropped
    "58": Unavailable,  # system error: I/O
    "58P01": Misconfigured,  # undefined file: the extension is not installed on the server
    "72": Retryable,  # snapshot too old
    "EQ": QuotaExceeded,  # raised by our own triggers, see migration 0024
    "F0": Misconfigured,  # configuration file error
    "HV": Permanent,  # foreign data wrapper error
    "P0": Permanent,  # PL/pgSQL error
    "XX": Retryable,  # internal error: among them "tuple concurrently updated"
    "XX001": Permanent,  # data corrupted
    "XX002": Permanent,  # index corrupted
}

#: Our error type for errors without SQLSTATE, which psycopg raises itself or while connecting. If a class is
#: not listed, its nearest listed base class counts.
BY_CLASS: dict[type[Exception], type[ClusterError]] = {
    psycopg_pool.TooManyRequests: Unavailable,
    psycopg_pool.PoolTimeout: Unavailable,
    psycopg_pool.PoolClosed: Unavailable,
    psycopg.errors.ConnectionTimeout: Unavailable,
    psycopg.errors.CancellationTimeout: Unavailable,
    psycopg.errors.PipelineAborted: Retryable,
    psycopg.OperationalError: Unavailable,
    psycopg.InterfaceError: Unavailable,  # "the connection is closed"
    psycopg.IntegrityError: Conflict,
    psycopg.DataError: InvalidInput,
    psycopg.ProgrammingError: Permanent,
    psycopg.NotSupportedError: Permanent,
    psycopg.InternalError: Retryable,
    psycopg.DatabaseError: Permanent,
    psycopg.Error: Permanent,
}

#: Texts that identify a refused log-in, for which libpq gives no SQLSTATE. A retry would be refused too.
REFUSALS = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
    "no password supplied",
)
RETRY_AFTER_S = 1.0
#: For each SQLSTATE of a shortage, the resource that is used up. If neither this table nor the error's text
#: names a resource, a code of class 53 means memory.
RESOURCES = {
    "25006": Resource.DATABASE_WRITES,
    "53100": Resource.DATABASE_DISK,  # disk full
    "53300": Resource.DATABASE_CONNECTIONS,  # too many connections
}
#: For each text in an error, the resource that is used up. The text is needed because Postgres has no
#: SQLSTATE for a quota and reports a read-only file system as a lack of privilege, and because libpq gives no
#: SQLSTATE for a refused log-in.
RESOURCES_BY_TEXT = {
    os.strerror(errno.ENOSPC): Resource.DATABASE_DISK,
    os.strerror(errno.EDQUOT): Resource.DATABASE_DISK,
    os.strerror(errno.EROFS): Resource.DATABASE_WRITES,
    "too many clients already": Resource.DATABASE_CONNECTIONS,
    "connection slots are reserved": Resource.DATABASE_CONNECTIONS,
    "too many connections for": Resource.DATABASE_CONNECTIONS,
}
#: Seconds until a caller should retry after a shortage. It is longer than ``RETRY_AFTER_S``, because an
#: operator has to make room, but still short, because some clients make few retries.
SHORTAGE_RETRY_AFTER_S = 10.0


@contextmanager
def translated() -> Iterator[None]:
    """Raise psycopg errors from the block as errors of this project, with the original as the cause."""
    try:
        yield
    except psycopg.Error as exc:
        raise translate(exc) from exc


def translate(exc: psycopg.Error) -> ClusterError:
    """Return the error of this project for a psycopg error."""
    resource = _used_up(exc)
    if resource is not None:
        return Shortage(
            f"{resource.sentence} ({_first_line(exc)})",
            resource=resource,
            retry_after_s=SHORTAGE_RETRY_AFTER_S,
        )
    error_type = _error_type(exc)
    if error_type is QuotaExceeded:
        return QuotaExceeded(exc.diag.message_primary or str(exc))
    message = f"database: {str(exc).strip() or type(exc).__name__}"
    if issubclass(error_type, Retryable):
        return error_type(message, retry_after_s=RETRY_AFTER_S)
    return error_type(message)


def _used_up(exc: psycopg.Error) -> Resource | None:
    """Return the resource that is used up, or None if the error has another reason."""
    if exc.sqlstate in RESOURCES:
        return RESOURCES[exc.sqlstate]
    # Only the texts of these errors are searched. The text of another error may contain anything, such as a
    # refused value.
    has_telling_text = exc.sqlstate in {None, "42501"} or (exc.sqlstate or "")[:2] in {"53", "58", "XX"}
    words = (
        next((resource for words, resource in RESOURCES_BY_TEXT.items() if words in str(exc)), None)
        if has_telling_text
        else None
    )
    if words is None and (exc.sqlstate or "").startswith("53"):
        return Resource.DATABASE_MEMORY
    return words


def _first_line(exc: psycopg.Error) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]


def _error_type(exc: psycopg.Error) -> type[ClusterError]:
    if exc.sqlstate:
        return BY_SQLSTATE.get(exc.sqlstate) or BY_SQLSTATE.get(exc.sqlstate[:2], Permanent)
    if (
        isinstance(exc, psycopg.OperationalError)
        and "FATAL:" in str(exc)
        and any(words in str(exc) for words in REFUSALS)
    ):
        return Misconfigured
    return next(BY_CLASS[theirs] for theirs in type(exc).__mro__ if theirs in BY_CLASS)
