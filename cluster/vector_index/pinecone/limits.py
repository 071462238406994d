"""Keep Pinecone's rate limits, which all processes of the cluster share.

Pinecone counts some operations (query, upsert, delete) in each namespace, and all other operations (fetch,
list, describe) in the whole index. The numbers are from
https://docs.pinecone.io/reference/api/database-limits.

    limits = RateLimits(pool, source)
    with limits.acquire(Use(operation=Operation.QUERY, organisation="acme", namespace="acme.vs_1")):
        ...
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from psycopg_pool import ConnectionPool

from cluster.rate_limits import Grant, SharedBudget
from cluster.settings.indexes import IndexSource

#: Maximum number of bytes of upserts in one second in one namespace (Pinecone's limit).
BYTES_PER_SECOND = 50_000_000
#: Maximum number of vectors deleted by id in one second in one namespace (Pinecone's limit).
DELETED_PER_SECOND = 5_000
#: Maximum seconds that a request waits for its turn. ``URGENT_TIMEOUT_S`` is for requests with ``urgent``.
TIMEOUT_S, URGENT_TIMEOUT_S = 60.0, 3.0
#: Seconds after which the share of a process that was killed during a request is free again. Pinecone counts
#: a request when the request arrives. So this number has to be greater than the time limits of connecting and
#: sending together.
LEASE_S = 65.0
#: Maximum number of budgets that one process keeps open.
MAX_BUDGETS = 10_000


class Operation(StrEnum):
    """The operation of a request. Each operation has its own limits."""

    QUERY = "query"
    UPSERT = "upsert"
    DELETE = "delete"
    FETCH = "fetch"
    LIST = "list"
    DESCRIBE = "describe"

    @property
    def per_namespace(self) -> bool:
        """True if Pinecone counts the operation in each namespace, False if in the whole index."""
        return self in {Operation.QUERY, Operation.UPSERT, Operation.DELETE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """The amounts of the limits that one request uses."""

    operation: Operation
    #: The organisation whose share of the limits is used.
    organisation: str
    namespace: str = ""
    #: Size of an upsert in bytes.
    bytes: int = 0
    #: Number of vectors that a request deletes by id.
    deleted: int = 0
    #: True if a person waits for the answer.
    urgent: bool = False


class RateLimits:
    """Applies the rate limits of one index. Safe to use from several threads.

    Args:
        pool: connections to our Postgres, which holds the budgets.
        source: the index.
    """

    def __init__(self, pool: ConnectionPool, source: IndexSource) -> None:
        self._pool = pool
        self._source = source
        self._lock = Lock()
        self._budgets: OrderedDict[str, SharedBudget] = OrderedDict()

    def acquire(self, use: Use) -> Grant:
        """Wait until the limits have room for a request.

        Raises:
            Throttled: the limits have no room within the time limit.
            Unavailable: our Postgres does not answer.
        """
        amounts = {"requests": 1}
        if use.operation is Operation.UPSERT:
            amounts["bytes"] = min(use.bytes, BYTES_PER_SECOND)
        if use.operation is Operation.DELETE:
            amounts["deleted"] = use.deleted
        return self._budget(use).acquire(
            amounts,
            organisation=use.organisation,
            urgent=use.urgent,
            timeout_s=URGENT_TIMEOUT_S if use.urgent else TIMEOUT_S,
        )

    def pause(self, use: Use, seconds: float) -> None:
        """Stop all processes from sending requests like ``use`` for so many seconds, as Pinecone asks."""
        self._budget(use).pause(seconds)

    def _budget(self, use: Use) -> SharedBudget:
        place = f"{use.namespace}:" if use.operation.per_namespace else ""
        name = f"pinecone:{self._source.host}:{place}{use.operation}"
        with self._lock:
            budget = self._budgets.pop(name, None) or SharedBudget(
                self._pool, name, self._limits(use), lease_s=LEASE_S
            )
            self._budgets[name] = budget
            if len(self._budgets) > MAX_BUDGETS:
                self._budgets.popitem(last=False)
            return budget

    def _limits(self, use: Use) -> dict[str, tuple[int, float]]:
        limits = {"requests": (self._source.requests_per_second, 1.0)}
        if use.operation is Operation.UPSERT:
            limits["bytes"] = (BYTES_PER_SECOND, 1.0)
        if use.operation is Operation.DELETE:
            limits["deleted"] = (DELETED_PER_SECOND, 1.0)
        return limits
