"""Vector stores: the named sets of documents that a search runs over.

Called by the jobs that fill them, by search and by the routes; every call names the organisation.

    store = ensure_store(connection, "default", "handbook", fingerprint=engine.fingerprint)

A store that was deleted is hidden from every call at once, and a job deletes what it held (``store_upkeep``). One that has
expired keeps its row, so that its owner sees what became of it; its documents are hidden like those of a deleted one.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.paging import FIRST_PAGE, ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.jobs.jobs import Job
from cluster.jobs.kinds import DELETE_STORE
from cluster.jobs.queue import submit
from cluster.records import vector_store_id
from cluster.vector_index import PGVECTOR
from cluster.vector_index.collections import collection_name
from cluster.vector_index.filters import is_text

ID = re.compile(r"^vs_[0-9a-f]{24}$")
#: OpenAI's limit, in characters.
LONGEST_NAME = 256
#: Stores named in the error of a search for one that is not there.
NAMES_SHOWN = 10
#: Searches and attachments are noted as activity no more often than this.
TOUCH_INTERVAL = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorStore:
    """A named set of documents with vectors of one fingerprint."""

    organisation: str
    id: str
    #: Empty where none was given.
    name: str
    description: str
    #: Collection that holds its chunks.
    collection: str
    #: Name of the index that holds its vectors; see ``cluster.vector_index.ADAPTERS``.
    index: str
    #: Which space its vectors lie in.
    fingerprint: Fingerprint
    metadata: dict[str, str]
    #: OpenAI's, for files that come without one of their own; None: auto.
    chunking_strategy: dict[str, Any] | None
    #: OpenAI's: {"anchor": "last_active_at", "days": n}; None: never.
    expires_after: dict[str, Any] | None
    #: The good pages of a bad document are indexed.
    partial: bool
    created_at: datetime
    last_active_at: datetime
    expires_at: datetime | None

    @property
    def expired(self) -> bool:
        """True once nobody finds anything in it any more."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewStore:
    """What a store may be given when it is made; as in ``VectorStore``."""

    name: str = ""
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    chunking_strategy: Mapping[str, Any] | None = None
    expires_after: Mapping[str, Any] | None = None
    partial: bool = False
    index: str = PGVECTOR


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCounts:
    """Attached files by status."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.in_progress + self.completed + self.failed + self.cancelled


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """How much a store holds."""

    files: FileCounts = FileCounts()
    #: Bytes of its files and of the documents that jobs ingested.
    bytes: int = 0


EXPIRED = "(expired_at IS NOT NULL OR expires_at IS NOT NULL AND expires_at <= now())"
COLUMNS = ", ".join(f"vector_stores.{field.name}" for field in fields(VectorStore))
SQL = {
    name: text.replace("{columns}", COLUMNS).replace("{expired}", EXPIRED)
    for name, text in queries("cluster.documents", "stores.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def create_store(
    connection: Connection[Any], organisation: str, new: NewStore, *, fingerprint: Fingerprint
) -> VectorStore:
    """A new store under an id nobody can guess; others may have its name."""
    return _insert(connection, organisation, f"vs_{secrets.token_hex(12)}", new, fingerprint)


def ensure_store(
    connection: Connection[Any],
    organisation: str,
    name: str,
    *,
    fingerprint: Fingerprint,
    index: str = PGVECTOR,
) -> VectorStore:
    """The store of this name (or id), made if it is not there, with its organisation. Safe to repeat and to race.

    Args:
        connection: to the database.
        organisation: whose store it is.
        name: its name or id.
        fingerprint: of the model of a store that is made; one that is there keeps its own.

    A store made so has the id that ``records.vector_store_id`` gives its name, unless one that was deleted or has expired
    still has it; then it gets one nobody can guess, and is found by its name.

    Raises:
        InvalidInput: no store can have this name.
        NotFound: what looks like an id is not there; a mistyped id must not become a name.
    """
    if not is_text(name):
        raise InvalidInput(
            f"the vector store's name is {name!r}; it must be UTF-8 and hold no NUL character",
            param="vector_store",
        )
    if not 0 < len(name) <= LONGEST_NAME:
        raise InvalidInput(
            f"the vector store's name has {len(name):,} characters; it must have 1 to {LONGEST_NAME}",
            param="vector_store",
        )
    try:
        return find_store(connection, organisation, name)
    except NotFound:
        if ID.match(name):
            raise
        return _make_named(connection, organisation, NewStore(name=name, index=index), fingerprint)


def find_store(connection: Connection[Any], organisation: str, id_or_name: str) -> VectorStore:
    """The organisation's store of this id, or else the oldest of this name, that is neither deleted nor has expired.

    Raises:
        NotFound: naming stores that are there.
    """
    row = _one(connection, "find", {"organisation": organisation, "id_or_name": id_or_name})
    if row is None:
        stores = list_stores(
            connection, organisation, PageRequest(limit=NAMES_SHOWN, newest_first=False)
        ).items
        names = [store.name or store.id for store in stores if not store.expired]
        there = f"there are: {', '.join(names)}" if names else "there is none yet"
        raise NotFound(f"no vector store {id_or_name!r}; {there}")
    return _store(row)


def get_store(connection: Connection[Any], organisation: str, id: str) -> VectorStore:
    """The organisation's store of this id, also one that has expired.

    Raises:
        NotFound: it has none.
    """
    row = _one(connection, "get", {"organisation": organisation, "id": id})
    if row is None:
        raise NotFound(f"no vector store {id!r}")
    return _store(row)


def require_live(store: VectorStore) -> VectorStore:
    """The store, if it has not expired.

    Raises:
        Conflict: it has.
    """
    if store.expired:
        raise Conflict(f"vector store {store.id!r} has expired; make a new one")
    return store


def list_stores(
    connection: Connection[Any], organisation: str, page: PageRequest = FIRST_PAGE
) -> ListPage[VectorStore]:
    """A page of the organisation's stores, those that have expired too.

    Raises:
        InvalidInput: a cursor that is no store of the organisation's.
    """
    found = read_page(connection, LISTS, {"organisation": organisation, "kind": DELETE_STORE.name}, page)
    return ListPage(items=[_store(row) for row in found.items], has_more=found.has_more)


def usage_of(connection: Connection[Any], organisation: str, ids: Sequence[str]) -> dict[str, Usage]:
    """What each of the stores holds."""
    counts: dict[str, dict[str, int]] = {id: {} for id in ids}
    sizes = dict.fromkeys(ids, 0)
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(SQL["usage"], {"organisation": organisation, "ids": list(ids)}):
            sizes[row["vector_store"]] += row["bytes"]
            if row["status"] is not None:
                counts[row["vector_store"]][row["status"]] = row["files"]
    return {id: Usage(files=FileCounts(**counts[id]), bytes=sizes[id]) for id in ids}


def update_store(
    connection: Connection[Any], organisation: str, id: str, changes: Mapping[str, Any]
) -> VectorStore:
    """Change fields of ``NewStore``, all but the chunking strategy; the others stay.

    Raises:
        NotFound: the organisation has no such store.
        Conflict: it has expired.
    """
    with connection.transaction():
        row = _one(connection, "lock", {"organisation": organisation, "id": id})
        if row is None:
            raise NotFound(f"no vector store {id!r}")
        store = replace(require_live(_store(row)), **changes)
        row = _one(connection, "update", _values(store))
    assert row is not None
    return _store(row)


def touch_store(connection: Connection[Any], store: VectorStore) -> None:
    """The store is in use now. Cheap: without a query while that was noted within the last minute."""
    if datetime.now(UTC) - store.last_active_at >= TOUCH_INTERVAL:
        connection.execute(SQL["touch"], {"organisation": store.organisation, "id": store.id})


def delete_store(connection: Connection[Any], organisation: str, id: str) -> Job:
    """Hide the store from everybody, and have a job delete what it holds, which is given.

    Raises:
        NotFound: the organisation has no such store.
    """
    with connection.transaction():
        row = connection.execute(SQL["delete"], {"organisation": organisation, "id": id}).fetchone()
        if row is None:
            raise NotFound(f"no vector store {id!r}")
        return submit_deletion(connection, organisation, id, made=row[0])


def submit_deletion(connection: Connection[Any], organisation: str, id: str, *, made: datetime) -> Job:
    """The job that deletes what the store holds; nobody waits for it."""
    input = {"vector_store": id, "made": made.isoformat()}
    return submit(connection, organisation, DELETE_STORE, input, subject=id)


def _make_named(
    connection: Connection[Any], organisation: str, new: NewStore, fingerprint: Fingerprint
) -> VectorStore:
    with connection.transaction():
        connection.execute(SQL["lock_name"], {"organisation": organisation, "name": new.name})
        try:
            return find_store(connection, organisation, new.name)  # somebody else was faster
        except NotFound:
            try:
                return _insert(
                    connection, organisation, vector_store_id(organisation, new.name), new, fingerprint
                )
            except Conflict:
                return create_store(connection, organisation, new, fingerprint=fingerprint)


def _insert(
    connection: Connection[Any], organisation: str, id: str, new: NewStore, fingerprint: Fingerprint
) -> VectorStore:
    values = {
        "organisation": organisation,
        "id": id,
        "collection": collection_name(fingerprint),
        "fingerprint_id": fingerprint.id,
        "fingerprint": Jsonb(fingerprint.to_dict()),
        **_values(new),
    }
    row = _one(connection, "insert", values)
    if row is None:
        raise Conflict(f"there is a vector store {id!r}")
    return _store(row)


def _values(store: VectorStore | NewStore) -> dict[str, Any]:
    """As SQL takes them; objects as JSON."""
    values = {field.name: getattr(store, field.name) for field in fields(store)}
    return {
        name: Jsonb(dict(value)) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if name != "fingerprint"
    }


def _one(connection: Connection[Any], statement: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SQL[statement], values).fetchone()


def _store(row: dict[str, Any]) -> VectorStore:
    return VectorStore(**{**row, "fingerprint": Fingerprint(**row["fingerprint"])})
