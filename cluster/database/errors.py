"""Postgres' errors as ours: one table, used around every call of the database.

with translated():
    connection.execute(...)
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool

from cluster.errors import ClusterError, Conflict, Misconfigured, Permanent, Retryable, Unavailable

#: Most special first; a class that is not named falls to its nearest ancestor in the table.
TABLE: tuple[tuple[type[Exception], type[ClusterError]], ...] = (
    (psycopg_pool.TooManyRequests, Unavailable),
    (psycopg_pool.PoolTimeout, Unavailable),
    (psycopg_pool.PoolClosed, Unavailable),
    (psycopg.errors.InvalidPassword, Misconfigured),
    (psycopg.errors.InvalidAuthorizationSpecification, Misconfigured),
    (psycopg.errors.UndefinedFile, Misconfigured),
    (psycopg.errors.InsufficientPrivilege, Misconfigured),
    (psycopg.errors.SerializationFailure, Retryable),
    (psycopg.errors.DeadlockDetected, Retryable),
    (psycopg.errors.LockNotAvailable, Retryable),
    (psycopg.errors.QueryCanceled, Retryable),
    (psycopg.errors.DiskFull, Unavailable),
    (psycopg.errors.OutOfMemory, Unavailable),
    (psycopg.OperationalError, Unavailable),
    (psycopg.InterfaceError, Unavailable),
    (psycopg.IntegrityError, Conflict),
    (psycopg.DataError, Permanent),
    (psycopg.ProgrammingError, Permanent),
    (psycopg.NotSupportedError, Permanent),
    (psycopg.InternalError, Retryable),
    (psycopg.DatabaseError, Permanent),
    (psycopg.Error, Permanent),
)
RETRY_AFTER_S = 1.0


@contextmanager
def translated() -> Iterator[None]:
    """Errors of psycopg raised inside the block leave it as ours."""
    try:
        yield
    except psycopg.Error as exc:
        raise translate(exc) from exc


def translate(exc: psycopg.Error) -> ClusterError:
    """Our error for one of psycopg's."""
    ours = next(ours for theirs, ours in TABLE if isinstance(exc, theirs))
    message = f"database: {str(exc).strip() or type(exc).__name__}"
    return ours(message, retry_after_s=RETRY_AFTER_S) if issubclass(ours, Retryable) else ours(message)
