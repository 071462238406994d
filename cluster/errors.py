"""The one tree of errors; which branch an error is on decides what happens next.

    ClusterError
    ├── Retryable            the same call may succeed later; ``retry_after_s`` says when
    │   ├── Throttled        too much waits, or is kept, already
    │   └── Unavailable      a service we need does not answer (database, engine, index)
    │       └── Shortage     it answers, but a resource that it needs is used up (disk, memory, connections)
    └── Permanent            repeating the call cannot help; somebody must change something
        ├── InvalidInput     what the caller sent is wrong; the message names input, limit and remedy
        ├── NotFound         what the caller named does not exist
        ├── Conflict         it exists, but not as the caller assumes (dimension, fingerprint, ...)
        │   └── LeaseLost    a try at a job that counts no more: the job was given to somebody else, or has ended
        └── Misconfigured    a setting, an extra or a file of the installation is missing or wrong

Vendor errors are translated into these in one table per adapter, with ``raise ... from exc``.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal


class ClusterError(Exception):
    """Root of every error this project raises on purpose."""


class Retryable(ClusterError):
    """The same call may succeed later.

    Args:
        message: what happened, to what, and what to do.
        retry_after_s: seconds to wait before the next try; None leaves it to the caller's own schedule.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Throttled(Retryable):
    """Too much waits already, or an organisation keeps as much as it may."""


class Unavailable(Retryable):
    """A service we depend on does not answer."""


class Resource(StrEnum):
    """What can be used up. The same call succeeds once there is room again."""

    #: Where Postgres keeps its data: no space, or a quota.
    DATABASE_DISK = "database_disk"
    #: Postgres takes no writes: a standby, ``default_transaction_read_only``, a file system mounted read-only.
    DATABASE_WRITES = "database_writes"
    #: Postgres has no connection left.
    DATABASE_CONNECTIONS = "database_connections"
    #: Memory of Postgres, its table of locks, or a limit such as ``temp_file_limit``: one statement can be at fault.
    DATABASE_MEMORY = "database_memory"
    #: Where the bytes of files lie.
    BLOB_STORE = "blob_store"
    #: The disk of the process's own node.
    OWN_DISK = "own_disk"

    @property
    def of_all(self) -> bool:
        """True where no single call is at fault, so that waiting without a limit is right."""
        return self is not Resource.DATABASE_MEMORY

    @property
    def needed_by_all(self) -> bool:
        """True where no job of any worker can go on."""
        return self in {Resource.DATABASE_DISK, Resource.DATABASE_WRITES, Resource.DATABASE_CONNECTIONS}

    @property
    def reason(self) -> Literal["storage", "database"]:
        """Why a job waits, for programs: there is no room to write to, or the database cannot work."""
        return "database" if self in {Resource.DATABASE_CONNECTIONS, Resource.DATABASE_MEMORY} else "storage"

    @property
    def sentence(self) -> str:
        """What is short, and what to do."""
        return SHORT[self]


SHORT = {
    Resource.DATABASE_DISK: "the database's disk is full: make room where Postgres keeps its data",
    Resource.DATABASE_WRITES: "the database takes no writes: it is a standby, default_transaction_read_only is on, or so is its disk",
    Resource.DATABASE_CONNECTIONS: "the database has no connection left: raise max_connections, or lower CLUSTER_DATABASE_POOL_SIZE",
    Resource.DATABASE_MEMORY: "the database is out of memory or locks, or at a limit such as temp_file_limit: its log says which to raise",
    Resource.BLOB_STORE: "the blob store is full or read-only: make room where CLUSTER_BLOB_URL points (by default in CLUSTER_HOME)",
    Resource.OWN_DISK: "the disk of the worker's node is full or read-only: make room in its temporary folder and in CLUSTER_HOME",
}


class Shortage(Unavailable):
    """A service answers, but a resource that it needs is used up: a reason to wait, never a fault of what was asked.

    Args:
        message: what happened.
        resource: what is short.
        retry_after_s: seconds to wait before the next try.
    """

    # With a default, because unpickling calls it with the message alone and sets the attributes after.
    def __init__(
        self, message: str, *, resource: Resource = Resource.OWN_DISK, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.resource = resource


class Permanent(ClusterError):
    """Repeating the call cannot help.

    Args:
        message: what happened, to what, and what to do.
        row_ids: ids of the rows that caused it, where the call was about rows.
    """

    def __init__(self, message: str, *, row_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.row_ids = tuple(row_ids)


class InvalidInput(Permanent):
    """What the caller sent is wrong.

    Args:
        message: names the input, the limit and the remedy.
        param: the field at fault, as the caller spells it (OpenAI's ``param``).
    """

    def __init__(self, message: str, *, param: str | None = None, row_ids: Sequence[str] = ()) -> None:
        super().__init__(message, row_ids=row_ids)
        self.param = param


class NotFound(Permanent):
    """What the caller named does not exist."""


class Conflict(Permanent):
    """It exists, but not as the caller assumes."""


class LeaseLost(Conflict):
    """A try at a job that counts no more: the job was given to somebody else, or has ended. What it wrote is undone."""


class Misconfigured(Permanent):
    """A setting, an optional extra or a file of the installation is missing or wrong."""


def last_line(exc: BaseException) -> str:
    """What happened: a remote error carries the whole remote trace, and its last line says so."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[-1]
