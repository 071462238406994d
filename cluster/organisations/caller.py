"""Set and check the caller of the current request or command: who asked for the work, and what this caller
may do.

The endpoint sets the caller of each request (``serve_app.edge.boundary``), and each command sets its own
caller. The functions that find a vector store or a model check the caller's lists, so no route can forget the
check.
``audit.record`` writes the caller into the audit log. Work without a caller, such as a job, is not limited.

    with acting_as(caller):
        require_store("vs_1")         # raises NotPermitted if the caller's key is limited to other stores
"""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from cluster.errors import NotPermitted
from cluster.organisations.rates import Rates


class Scope(StrEnum):
    """A kind of requests that a key allows. A key has one scope or more. No scope includes another scope."""

    #: Requests that change nothing: lists, searches, embeddings.
    READ = "read"
    #: Requests that create, change, cancel or delete something.
    WRITE = "write"
    #: Requests about the keys, the audit log and the webhooks of the key's own organisation.
    ADMIN = "admin"


class CallerKind(StrEnum):
    """The kind of a caller, as the audit log shows it."""

    #: A key of an organisation.
    KEY = "key"
    #: A token of the issuer in ``CLUSTER_OIDC_ISSUER``.
    TOKEN = "token"  # noqa: S105  not a password
    #: The operator's key, ``CLUSTER_API_KEY``.
    OPERATOR = "operator"
    #: A request without a key, to an endpoint that only its own machine reaches.
    KEYLESS = "keyless"
    #: A command of this project; ``id`` is the name of the operating system's user.
    COMMAND = "command"
    #: The cluster itself, such as a job.
    CLUSTER = "cluster"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A caller, and what this caller may do."""

    kind: CallerKind
    #: Id of the key, subject of the token, or name of the operating system's user; for every other kind of
    #: caller, the kind.
    id: str
    #: The organisation that the caller acts for; empty for a command.
    organisation: str = ""
    scopes: frozenset[Scope] = frozenset(Scope)
    #: Names of the only models that the caller may use; None if it may use all models.
    models: frozenset[str] | None = None
    #: Ids of the only vector stores that the caller may use; None if it may use all stores.
    stores: frozenset[str] | None = None
    #: The rates of the caller's organisation and of its key, if they have any. A request counts for each.
    rates: tuple[Rates, ...] = ()
    #: The person or service that a token is for (``user:SUBJECT``), and its groups (``group:NAME``). Other
    #: kinds of callers have none.
    principals: frozenset[str] = frozenset()
    #: Address from which the request came; None if the caller sent no request.
    address: str | None = None
    #: Id of the request; None if the caller sent no request.
    request: str | None = None

    @property
    def operates(self) -> bool:
        """True if the caller operates the cluster, and may create and delete organisations."""
        return self.kind not in {CallerKind.KEY, CallerKind.TOKEN}


CLUSTER = Caller(kind=CallerKind.CLUSTER, id="cluster")
_CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current_caller() -> Caller:
    """Return the caller of the current request or command; ``CLUSTER`` if there is none."""
    return _CALLER.get() or CLUSTER


def current_key() -> str | None:
    """Return the id of the API key of the current request; None if no key of an organisation asked for it."""
    caller = current_caller()
    return caller.id if caller.kind is CallerKind.KEY else None


@contextmanager
def acting_as(caller: Caller) -> Iterator[None]:
    """Run the block on behalf of this caller."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)


def command_user() -> Caller:
    """Return the caller of a command: the user of the operating system who runs it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container, the user may have a number but no name
        name = "unknown"
    return Caller(kind=CallerKind.COMMAND, id=name)


def require_model(name: str) -> None:
    """Check that the caller may use the model.

    Raises:
        NotPermitted: the caller's key is limited to other models.
    """
    caller = _CALLER.get()
    if caller is not None and caller.models is not None and name not in caller.models:
        raise NotPermitted(
            f"this API key may not use the model `{name}`, only {_listed(caller.models)}; use one of these, "
            "or a key that allows the model"
        )


def require_all_models(action: str) -> None:
    """Check that the caller may use every model, for a request that can name any number of models in a file.

    Raises:
        NotPermitted: the caller's key is limited to some models.
    """
    caller = _CALLER.get()
    if caller is not None and caller.models is not None:
        raise NotPermitted(
            f"this API key is limited to some models, and {action} may name any; use a key without a list "
            "of models"
        )


def require_store(id: str) -> None:
    """Check that the caller may use the vector store.

    Raises:
        NotPermitted: the caller's key is limited to other stores.
    """
    caller = _CALLER.get()
    if caller is not None and caller.stores is not None and id not in caller.stores:
        raise NotPermitted(
            f"this API key may not use the vector store {id!r}, only {_listed(caller.stores)}; use one of "
            "these, or a key that allows the store"
        )


def require_new_store() -> None:
    """Check that the caller may create a vector store.

    Raises:
        NotPermitted: the caller's key is limited to some stores, and a new store is not one of them.
    """
    caller = _CALLER.get()
    if caller is not None and caller.stores is not None:
        raise NotPermitted(
            f"this API key may use only the vector stores {_listed(caller.stores)}, so it cannot create "
            "one; use a key without a list of stores"
        )


def permitted_stores() -> list[str] | None:
    """Return the ids of the only stores that the caller may list; None: all stores of its organisation."""
    stores = current_caller().stores
    return None if stores is None else sorted(stores)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
