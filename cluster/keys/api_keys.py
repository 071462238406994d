"""Create, list, change, rotate and revoke the API keys in the database.

``python -m cluster.keys`` and the routes ``/v1/organisation/keys`` call this module. Each change writes an
event into the audit log in the same transaction. ``known_keys`` checks the keys of requests.

    made = create_key(connection, "acme", NewKey(name="ci", scopes=frozenset({Scope.READ})))
    made.text                                  # shown once, never stored
    revoke_key(connection, "acme", made.key.id)
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.paging import FIRST_PAGE, ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.keys.key_limits import LIMITS, KeyLimits
from cluster.keys.key_text import hash_of, new_key_text, prefix_of
from cluster.organisations.audit import record
from cluster.organisations.caller import Scope, current_caller
from cluster.organisations.organisations import lock_organisation

#: Maximum number of keys of an organisation that are neither revoked nor expired.
MAX_KEYS = 1_000
#: Maximum number of models or vector stores in a key's list.
MAX_LISTED = 100
MAX_NAME_CHARACTERS = 128
#: Maximum number of characters of a model's name or a store's id in a list.
MAX_LISTED_CHARACTERS = 256
#: Maximum number of seconds for which a rotated key continues to work.
MAX_OVERLAP_S = 30 * 24 * 3_600
#: Scopes of a new key if its creator names no scopes.
DEFAULT_SCOPES = frozenset({Scope.READ, Scope.WRITE})


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey(KeyLimits):
    """The properties that a caller chooses for a new key."""

    name: str
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    #: Names of the only models that the key may use; None if it may use all models.
    models: tuple[str, ...] | None = None
    #: Ids of the only vector stores that the key may use; None if it may use all stores.
    stores: tuple[str, ...] | None = None
    #: Time at which the key expires; None if the key does not expire.
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey(KeyLimits):
    """A key as it is stored in the database. The secret of the key is not stored."""

    organisation: str
    id: str
    name: str
    #: The beginning of the key, which is not secret.
    prefix: str
    scopes: frozenset[Scope]
    models: tuple[str, ...] | None
    stores: tuple[str, ...] | None
    created_at: datetime
    #: The caller that created the key (``Caller.id``).
    created_by: str
    expires_at: datetime | None
    #: Time of the last use, exact to a minute; None if the key was never used.
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def status(self) -> str:
        """The state of the key: ``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        ended = self.expires_at is not None and self.expires_at <= datetime.now(UTC)
        return "expired" if ended else "active"


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuedKey:
    """A new key together with its text, which is shown once."""

    key: ApiKey
    text: str

    def __repr__(self) -> str:
        return f"IssuedKey(key={self.key!r}, text=***)"


COLUMNS = ", ".join(field.name for field in fields(ApiKey))
SQL = {
    name: text.replace("{columns}", COLUMNS) for name, text in queries("cluster.keys", "api_keys.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def create_key(connection: Connection[Any], organisation: str, new: NewKey) -> IssuedKey:
    """Create a key in the caller's transaction.

    Raises:
        InvalidInput: a property is outside its limits; the message names the limit.
        NotFound: there is no such organisation, or it has no such vector store.
        Conflict: the organisation has the maximum number of keys, or is deleted.
    """
    _check(new)
    lock_organisation(connection, organisation)
    _check_stores(connection, organisation, new.stores)
    found = connection.execute(SQL["count"], {"organisation": organisation}).fetchone()
    if found is not None and found[0] >= MAX_KEYS:
        raise Conflict(
            f"organisation {organisation} has {found[0]:,} keys, and at most {MAX_KEYS:,} are allowed; "
            "revoke keys that are no longer used"
        )
    issued = _insert(connection, organisation, new)
    record(connection, organisation, "api_key.created", target=issued.key.id, details=_details(issued.key))
    return issued


def list_keys(
    connection: Connection[Any], organisation: str, page: PageRequest = FIRST_PAGE
) -> ListPage[ApiKey]:
    """Return a page of the organisation's keys, including revoked and expired keys.

    Raises:
        InvalidInput: the cursor is not a key of the organisation.
    """
    found = read_page(connection, LISTS, {"organisation": organisation}, page)
    return ListPage(items=[_key(row) for row in found.items], has_more=found.has_more)


def get_key(connection: Connection[Any], organisation: str, id: str) -> ApiKey:
    """Return the key with this id.

    Raises:
        NotFound: the organisation has no such key.
    """
    return _one(connection, "get", {"organisation": organisation, "id": id})


def rotate_key(connection: Connection[Any], organisation: str, id: str, *, overlap_s: int = 0) -> IssuedKey:
    """Create a new key with the properties of the old key. The old key stops working, now or later.

    Args:
        id: id of the old key.
        overlap_s: seconds for which the old key continues to work.

    Raises:
        InvalidInput: the overlap is outside its limits.
        NotFound: there is no such organisation, or it has no such key.
        Conflict: the old key is revoked or expired, or the organisation is deleted.
    """
    if not 0 <= overlap_s <= MAX_OVERLAP_S:
        raise InvalidInput(
            f"overlap_s is {overlap_s}; it must be in 0..{MAX_OVERLAP_S} (30 days)", param="overlap_s"
        )
    lock_organisation(connection, organisation)
    old = get_key(connection, organisation, id)
    if old.status != "active":
        raise Conflict(f"key {id} is {old.status}; create a new key")
    new = NewKey(**{field.name: getattr(old, field.name) for field in fields(NewKey)})
    issued = _insert(connection, organisation, new)
    values = {"organisation": organisation, "id": id}
    if overlap_s:
        ends_at = datetime.now(UTC) + timedelta(seconds=overlap_s)
        connection.execute(SQL["expire"], {**values, "expires_at": min(ends_at, old.expires_at or ends_at)})
    else:
        connection.execute(SQL["revoke"], values)
    details = {"new_key": issued.key.id, "overlap_s": overlap_s}
    record(connection, organisation, "api_key.rotated", target=id, details=details)
    return issued


def change_limits(
    connection: Connection[Any], organisation: str, id: str, changes: Mapping[str, int | None]
) -> ApiKey:
    """Change some limits of the key. Replicas apply changed rates within a second.

    Args:
        changes: new values, by the names of the fields of ``KeyLimits``; None: no such limit.

    Raises:
        InvalidInput: a limit is outside its range.
        NotFound: there is no such organisation, or it has no such key.
        Conflict: the key is revoked, or the organisation is deleted.
    """
    lock_organisation(connection, organisation)
    before = get_key(connection, organisation, id)
    if before.revoked_at is not None:
        raise Conflict(f"key {id} is revoked; create a new key")
    after = KeyLimits(**{name: getattr(before, name) for name in LIMITS} | dict(changes))
    after.check()
    values = asdict(after)
    key = _one(connection, "change_limits", {"organisation": organisation, "id": id, **values})
    changed = {
        name: [getattr(before, name), value]
        for name, value in values.items()
        if getattr(before, name) != value
    }
    if "vectors_limit" in changed:
        _limit_vectors(connection, key)
    if changed:
        record(connection, organisation, "api_key.changed", target=id, details=changed)
    return key


def revoke_key(connection: Connection[Any], organisation: str, id: str) -> ApiKey:
    """Revoke the key. A key that is revoked already does not change.

    Raises:
        NotFound: there is no such organisation, or it has no such key.
        Conflict: the organisation is deleted.
    """
    lock_organisation(connection, organisation)
    key = get_key(connection, organisation, id)
    if key.revoked_at is not None:
        return key
    revoked = _one(connection, "revoke", {"organisation": organisation, "id": id})
    record(connection, organisation, "api_key.revoked", target=id, details={"name": key.name})
    return revoked


def any_working_key(connection: Connection[Any]) -> bool:
    """Return True if any organisation that is not deleted has a key that is neither revoked nor expired."""
    return connection.execute(SQL["any_working"]).fetchone() == (True,)


def _insert(connection: Connection[Any], organisation: str, new: NewKey) -> IssuedKey:
    text = new_key_text()
    values = {
        **{name: getattr(new, name) for name in LIMITS},
        "organisation": organisation,
        "id": f"key_{secrets.token_hex(12)}",
        "name": new.name,
        "prefix": prefix_of(text),
        "hash": hash_of(text.encode()),
        "scopes": sorted(new.scopes),
        "models": None if new.models is None else list(new.models),
        "stores": None if new.stores is None else list(new.stores),
        "expires_at": new.expires_at,
        "created_by": current_caller().id,
    }
    key = _one(connection, "insert", values)
    if key.vectors_limit is not None:
        _limit_vectors(connection, key)
    return IssuedKey(key=key, text=text)


def _limit_vectors(connection: Connection[Any], key: ApiKey) -> None:
    values = {"organisation": key.organisation, "id": key.id, "limit": key.vectors_limit}
    connection.execute(SQL["limit_vectors"], values)


def _check(new: NewKey) -> None:
    if not (0 < len(new.name) <= MAX_NAME_CHARACTERS and new.name.isprintable()):
        raise InvalidInput(
            f"a key's name has 1 to {MAX_NAME_CHARACTERS} printable characters; choose another", param="name"
        )
    if not new.scopes:
        raise InvalidInput(f"a key has at least one scope of: {', '.join(Scope)}", param="scopes")
    for field, names in (("models", new.models), ("stores", new.stores)):
        if names is not None:
            _check_list(field, names)
    limited = new.models is not None or new.stores is not None
    if limited and Scope.ADMIN in new.scopes:
        raise InvalidInput(
            "a key with the scope admin can create keys without a list, so it cannot have a list of models "
            "or stores itself; leave out the scope or the lists",
            param="scopes",
        )
    if new.expires_at is not None and new.expires_at <= datetime.now(UTC):
        raise InvalidInput("expires_at is in the past; choose a later time", param="expires_at")
    new.check()


def _check_list(field: str, names: Collection[str]) -> None:
    fits = all(0 < len(name) <= MAX_LISTED_CHARACTERS and name.isprintable() for name in names)
    if not (0 < len(names) <= MAX_LISTED and fits):
        raise InvalidInput(
            f"{field} lists 1 to {MAX_LISTED} names of 1 to {MAX_LISTED_CHARACTERS} printable characters; "
            "leave it out to allow all",
            param=field,
        )


def _check_stores(connection: Connection[Any], organisation: str, stores: Collection[str] | None) -> None:
    if stores is None:
        return
    values = {"organisation": organisation, "ids": list(stores)}
    found = {id for (id,) in connection.execute(SQL["stores"], values)}
    missing = [id for id in stores if id not in found]
    if missing:
        raise NotFound(f"no vector store {missing[0]!r}; list the stores by their ids, not by their names")


def _details(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": sorted(key.scopes),
        "models": key.models,
        "stores": key.stores,
        "expires_at": key.expires_at and key.expires_at.isoformat(),
        **{name: limit for name in LIMITS if (limit := getattr(key, name)) is not None},
    }


def _one(connection: Connection[Any], statement: str, values: Mapping[str, Any]) -> ApiKey:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL[statement], values).fetchone()
    if row is None:
        raise NotFound(f"no API key {values['id']!r}")
    return _key(row)


def _key(row: dict[str, Any]) -> ApiKey:
    key = ApiKey(**row)
    return replace(
        key,
        scopes=frozenset(map(Scope, key.scopes)),
        models=None if key.models is None else tuple(key.models),
        stores=None if key.stores is None else tuple(key.stores),
    )
