"""Organisations: the owners of all data, and the limits of each.

Only the migrations, ``rows.create_organisation`` and ``ensure_organisation`` create an organisation. For
example, a replica calls ``ensure_organisation`` when it opens the database. No other write creates an
organisation, and the row of a deleted organisation is kept, so a deleted organisation stays deleted.

    ensure_organisation(connection, "acme")
    limits = storage_limits(connection, "acme", default=StorageLimits.of(settings))

The row of an organisation also has ``concurrency_limit``: the maximum number of the organisation's jobs of
one priority class that run at the same time. The SQL of the queue reads this column (``cluster/jobs``).
"""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.errors import Conflict, NotFound
from cluster.settings import Settings

SQL = queries("cluster.organisations", "organisations.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageLimits:
    """Limits on what an organisation may store; 0 means no limit."""

    #: Maximum number of files, including pending uploads.
    files: int = 0
    #: Maximum number of bytes of all files, including the bytes that pending uploads announce.
    bytes: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "StorageLimits":
        """Return the default limits, for organisations without limits of their own."""
        return cls(files=settings.organisation_files, bytes=settings.organisation_bytes)

    def __bool__(self) -> bool:
        """Return True if files or bytes are limited."""
        return bool(self.files or self.bytes)


def ensure_organisation(connection: Connection[Any], organisation: str) -> None:
    """Create the organisation if it does not exist. Several processes may call this at the same time.

    If the organisation exists, nothing is written, so a replica also starts on a database that takes no
    writes.
    """
    if connection.execute(SQL["exists"], {"organisation": organisation}).fetchone() is None:
        connection.execute(SQL["ensure"], {"organisation": organisation})


def lock_organisation(connection: Connection[Any], organisation: str) -> None:
    """Lock the row of the organisation until the transaction ends. Call this before a change of the row or of
    the organisation's keys.

    Raises:
        NotFound: there is no such organisation.
        Conflict: the organisation is deleted.
    """
    row = connection.execute(SQL["lock"], {"organisation": organisation}).fetchone()
    if row is None:
        raise NotFound(f"no organisation {organisation!r}")
    if row[0] is not None:
        raise Conflict(f"organisation {organisation!r} is deleted")


def storage_limits(
    connection: Connection[Any], organisation: str, *, default: StorageLimits
) -> StorageLimits:
    """Return the organisation's limits. The default replaces each limit that the organisation does not have.

    Args:
        default: the limits in the settings.
    """
    row = connection.execute(SQL["storage_limits"], {"organisation": organisation}).fetchone()
    files, bytes = row or (None, None)
    return StorageLimits(
        files=default.files if files is None else files, bytes=default.bytes if bytes is None else bytes
    )
