"""Set which rows the statements of the current context may read and write.

Postgres compares each row with this access by row-level security (``row_security``). Without any access, a
statement finds no row of any organisation, and can insert none. The endpoint sets the access of each request,
a worker sets the access of each job, and a command sets the access of its run. The access is in a context
variable, so tasks of asyncio inherit it; a new thread has none, unless its executor is ``ContextThreads``.

    with for_organisation("acme"):
        with pool.connection() as connection:     # sees the rows of "acme" only
            ...
    with for_all_organisations():                 # for upkeep and for the operator's commands
        ...

An access applies to transactions that begin inside the block. It does not change an open transaction.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar

from cluster.errors import NotPermitted

P = ParamSpec("P")
T = TypeVar("T")


class Reach(StrEnum):
    """The rows that an access includes."""

    #: No row of any organisation.
    NOTHING = "nothing"
    #: The rows of one organisation.
    ORGANISATION = "organisation"
    #: The rows of all organisations.
    ALL = "all"
    #: All rows, and changes to the tables themselves, as the owner of the tables.
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class RowAccess:
    """Which rows a statement may read and write."""

    reach: Reach
    #: Id of the organisation; empty unless the reach is one organisation.
    organisation: str = ""
    #: True for a request of an organisation's own key. Such a request can never reach other rows.
    confined: bool = False


NOTHING, ALL, OWNER = RowAccess(Reach.NOTHING), RowAccess(Reach.ALL), RowAccess(Reach.OWNER)
_ACCESS: ContextVar[RowAccess | None] = ContextVar("row_access", default=None)


def current_access() -> RowAccess | None:
    """Return the access of the current context; None if no code has set it."""
    return _ACCESS.get()


def organisation_access(organisation: str) -> RowAccess:
    """Return the access to the rows of one organisation, for the pool of a command that acts for it."""
    return RowAccess(Reach.ORGANISATION, organisation)


@contextmanager
def for_organisation(organisation: str, *, confined: bool = False) -> Iterator[None]:
    """Let the block read and write the rows of one organisation.

    Args:
        organisation: id of the organisation.
        confined: True to refuse every wider access inside the block. The endpoint sets this for requests
            with a key of an organisation.
    """
    outer = _ACCESS.get()
    confined = confined or (outer is not None and outer.confined)
    with _access(RowAccess(Reach.ORGANISATION, organisation, confined)):
        yield


@contextmanager
def for_all_organisations() -> Iterator[None]:
    """Let the block read and write the rows of all organisations.

    Raises:
        NotPermitted: the block belongs to a request with a key of one organisation.
    """
    outer = _ACCESS.get()
    if outer is not None and outer.confined:
        raise NotPermitted(
            f"this request acts for organisation {outer.organisation!r} and cannot reach other organisations"
        )
    with _access(ALL):
        yield


@contextmanager
def as_owner() -> Iterator[None]:
    """Let the block change tables and indexes, as the role that owns the tables. Row-level security does not
    apply to the owner, so the block must not read or write rows for a caller.
    """
    with _access(OWNER):
        yield


def on_behalf_of_the_cluster(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function outside the current context, with access to the rows of all organisations.

    Use it for work that a request only happens to start, such as a task that serves many requests. The work
    must not answer the request.
    """

    def call() -> T:
        with for_all_organisations():
            return work(*args, **kwargs)

    return Context().run(call)


class ContextThreads(ThreadPoolExecutor):
    """Runs each call in a copy of the context that submits it, so the call has the same access."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Schedule the call, like the base class."""
        return super().submit(copy_context().run, fn, *args, **kwargs)  # type: ignore[arg-type]


@contextmanager
def _access(access: RowAccess) -> Iterator[Any]:
    token = _ACCESS.set(access)
    try:
        yield
    finally:
        _ACCESS.reset(token)
