"""Define the tree of this project's errors. The branch of an error decides what its caller does next.

    ClusterError
    ├── Retryable            the same call may succeed later; ``retry_after_s`` says when
    │   ├── Throttled        a backlog is too long, or an organisation has reached a limit
    │   └── Unavailable      a service (database, engine, index) does not answer
    │       ├── Shortage     a service answers, but a resource (disk, memory, connections) is used up
    │       └── ProviderUnavailable    a provider outside the cluster does not answer
    └── Permanent            the same call fails again until its caller or an operator changes something
        ├── InvalidInput     the caller sent something wrong; the message names input, limit and remedy
        ├── NotFound         the thing that the caller named does not exist
        ├── NotAuthenticated the request has no API key that works here
        ├── NotPermitted     the caller's API key does not allow the request
        ├── QuotaExceeded    an organisation or key stores as much as it may; the message names the limit
        ├── BudgetExceeded   a budget does not cover the work; the message says when the budget renews
        ├── Conflict         the thing exists in another state than the caller assumes
        │   └── LeaseLost    an attempt no longer counts: another worker has its job, or the job has ended
        └── Misconfigured    a setting, an extra or a file of the installation is missing or wrong

Each adapter translates its vendor's errors into these errors by one table, with ``raise ... from exc``.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal


class ClusterError(Exception):
    """Base class of every error that this project raises on purpose."""


class Retryable(ClusterError):
    """The same call may succeed later.

    Args:
        message: names the thing, what is wrong with it, and what to do.
        retry_after_s: seconds to wait before the next attempt; None: the caller decides.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Throttled(Retryable):
    """A backlog is too long, an organisation has reached a limit on what it stores, or the rate limit of a
    remote provider is used up.
    """


class Unavailable(Retryable):
    """A service that the call needs does not answer."""


class ProviderUnavailable(Unavailable):
    """A provider outside the cluster, such as a remote vector index, does not answer or answers with an error
    of its own. The adapter has already repeated the request as often as it may, so the caller can only wait.
    """


class Resource(StrEnum):
    """A resource that can be used up. A failed call may succeed as soon as there is room again."""

    #: The disk with the data of Postgres. It is used up if it is full or a quota is reached.
    DATABASE_DISK = "database_disk"
    #: Writes to Postgres. A standby, ``default_transaction_read_only`` or a read-only disk forbids them.
    DATABASE_WRITES = "database_writes"
    #: Connections to Postgres.
    DATABASE_CONNECTIONS = "database_connections"
    #: Memory or locks of Postgres, or a limit such as ``temp_file_limit``. One statement can use this up.
    DATABASE_MEMORY = "database_memory"
    #: The blob store, which holds the bytes of files.
    BLOB_STORE = "blob_store"
    #: The disk of this process's node.
    OWN_DISK = "own_disk"

    @property
    def shared(self) -> bool:
        """True if no single call can use up the resource; calls may then wait for room for any length of
        time.
        """
        return self is not Resource.DATABASE_MEMORY

    @property
    def stops_every_job(self) -> bool:
        """True if a shortage stops every job of every worker."""
        return self in {Resource.DATABASE_DISK, Resource.DATABASE_WRITES, Resource.DATABASE_CONNECTIONS}

    @property
    def reason(self) -> Literal["storage", "database"]:
        """Machine-readable reason why a job waits.

        ``database``: Postgres has no free connection or no memory. ``storage``: a disk or the blob store is
        full, or Postgres takes no writes.
        """
        return "database" if self in {Resource.DATABASE_CONNECTIONS, Resource.DATABASE_MEMORY} else "storage"

    @property
    def sentence(self) -> str:
        """A sentence that names the resource and what to do."""
        return SHORTAGE_SENTENCES[self]


SHORTAGE_SENTENCES = {
    Resource.DATABASE_DISK: "the database's disk is full: make room where Postgres keeps its data",
    Resource.DATABASE_WRITES: "the database takes no writes: it is a standby, default_transaction_read_only "
    "is on, or its disk is read-only; connect to the primary, or make it writable",
    Resource.DATABASE_CONNECTIONS: "the database has no free connection: raise max_connections, "
    "or lower CLUSTER_DATABASE_POOL_SIZE",
    Resource.DATABASE_MEMORY: "the database is out of memory or locks, or at a limit such as "
    "temp_file_limit: raise the limit that its log names",
    Resource.BLOB_STORE: "the blob store is full or read-only: make room where CLUSTER_BLOB_URL points "
    "(by default in CLUSTER_HOME)",
    Resource.OWN_DISK: "the disk of the worker's node is full or read-only: make room in its temporary "
    "folder and in CLUSTER_HOME",
}


class Shortage(Unavailable):
    """A service answers, but it has used up a resource that it needs. The same call succeeds later.

    Args:
        message: names the resource and what to do.
        resource: the resource that is used up.
        retry_after_s: seconds to wait before the next attempt.
    """

    # ``resource`` has a default because unpickling passes the message alone and sets the attributes later.
    def __init__(
        self, message: str, *, resource: Resource = Resource.OWN_DISK, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.resource = resource


class Permanent(ClusterError):
    """The same call fails again until its caller or an operator changes something.

    Args:
        message: names the thing, what is wrong with it, and what to do.
        row_ids: ids of the rows that caused the error, if the call was about rows.
    """

    def __init__(self, message: str, *, row_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.row_ids = tuple(row_ids)


class InvalidInput(Permanent):
    """The caller sent something wrong.

    Args:
        message: names the input, the limit and the remedy.
        param: name of the wrong field in the caller's request (OpenAI's ``param``).
    """

    def __init__(self, message: str, *, param: str | None = None, row_ids: Sequence[str] = ()) -> None:
        super().__init__(message, row_ids=row_ids)
        self.param = param


class NotFound(Permanent):
    """The thing that the caller named does not exist."""


class NotAuthenticated(Permanent):
    """The request has no API key that works here."""


class NotPermitted(Permanent):
    """The caller's API key does not allow the request, because of the key's scopes or its lists of models and
    stores.
    """


class BudgetExceeded(Permanent):
    """A budget does not cover the work. The same call succeeds after the budget renews or is raised.

    Args:
        message: names the budget and says when it renews.
        budget: id of the budget.
        renews_at: when the budget renews.
        retry_after_s: seconds after which the same call may succeed.
    """

    # All arguments after the message have defaults because unpickling passes the message alone and sets the
    # attributes later.
    def __init__(
        self,
        message: str,
        *,
        budget: str = "",
        renews_at: datetime = datetime.max,
        retry_after_s: float = 1.0,
    ) -> None:
        super().__init__(message)
        self.budget = budget
        self.renews_at = renews_at
        self.retry_after_s = retry_after_s


class QuotaExceeded(Permanent):
    """An organisation or an API key stores as much as it may. The same call succeeds after something is
    deleted or the limit is raised.
    """


class Conflict(Permanent):
    """The thing exists, but not in the state that the caller assumes: dimension, fingerprint, version."""


class LeaseLost(Conflict):
    """An attempt no longer counts, because another worker has the job or the job ended.

    The writes of the attempt are undone.
    """


class Misconfigured(Permanent):
    """A setting, an optional extra or a file of the installation is missing or wrong."""


def last_line(exc: BaseException) -> str:
    """Return the last line of the error's message, or the name of the error's type if the message is empty.
    In an error of Ray, a traceback precedes the last line.
    """
    return (str(exc).strip().splitlines() or [type(exc).__name__])[-1]
