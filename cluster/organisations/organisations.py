"""Organisations: the owners of all data, and the limits of each.

Beside the migrations, only ``ensure_organisation`` creates one. A replica calls it when it opens the
database, and a bulk ingest before it makes its vector store. No other write creates an organisation, so that
a deleted one stays deleted.

    ensure_organisation(connection, "acme")
    limits = storage_limits(connection, "acme", default=StorageLimits.of(settings))

The row also holds ``concurrency_limit``: how many of the organisation's jobs of one priority class may run at
once. The queue's own statements read it (``cluster/jobs``).
"""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.settings import Settings

SQL = queries("cluster.organisations", "organisations.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageLimits:
    """How much an organisation may keep; 0 means no limit."""

    #: Most files, pending uploads included.
    files: int = 0
    #: Maximum number of bytes of files, those announced by pending uploads included.
    bytes: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "StorageLimits":
        """The limits of organisations that have none of their own."""
        return cls(files=settings.organisation_files, bytes=settings.organisation_bytes)

    def __bool__(self) -> bool:
        """True where anything is limited."""
        return bool(self.files or self.bytes)


def ensure_organisation(connection: Connection[Any], organisation: str) -> None:
    """Create the organisation if it does not exist. Safe to repeat and to race.

    Nothing is written where it exists, so that a replica also starts on a database that takes no writes.
    """
    if connection.execute(SQL["exists"], {"organisation": organisation}).fetchone() is None:
        connection.execute(SQL["ensure"], {"organisation": organisation})


def storage_limits(
    connection: Connection[Any], organisation: str, *, default: StorageLimits
) -> StorageLimits:
    """The organisation's limits: each its own where it has one, else the default.

    Args:
        default: the settings' limits.
    """
    row = connection.execute(SQL["storage_limits"], {"organisation": organisation}).fetchone()
    files, bytes = row or (None, None)
    return StorageLimits(
        files=default.files if files is None else files, bytes=default.bytes if bytes is None else bytes
    )
