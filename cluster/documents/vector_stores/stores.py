"""Manage vector stores, which are named sets of documents that can be searched.

The jobs that fill stores, the code for retrieval, and the routes call this module. Every call names the
organisation.

    store = ensure_store(connection, "default", "handbook", fingerprint=engine.fingerprint)

A deleted store is immediately hidden from every call, and a job deletes its contents (``store_upkeep``). An
expired store keeps its row to show that it expired. Its documents are hidden and deleted too.
"""

import re
import secrets
from collections.abc import Mapping
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
from cluster.formats.recognition import OcrMode
from cluster.jobs.jobs import Job
from cluster.jobs.kinds import DELETE_STORE
from cluster.jobs.queue import submit
from cluster.organisations.caller import current_key, permitted_stores, require_new_store, require_store
from cluster.records import vector_store_id
from cluster.text.storable_text import is_text
from cluster.vector_index import PGVECTOR
from cluster.vector_index.collections import collection_name

ID = re.compile(r"^vs_[0-9a-f]{24}$")
#: Maximum length of a store's name in characters. OpenAI has the same limit.
LONGEST_NAME = 256
#: Maximum number of existing stores that the error about a missing store names.
NAMES_SHOWN = 10
#: Minimum time between two records of a store's activity.
TOUCH_INTERVAL = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorStore:
    """A named set of documents with vectors of one fingerprint."""

    organisation: str
    id: str
    #: Name of the store; empty if the store has no name.
    name: str
    description: str
    #: Collection that holds the store's chunks.
    collection: str
    #: Name of the index that holds the store's vectors; see ``CLUSTER_INDEXES``.
    index: str
    #: Fingerprint of the model that computes the store's vectors.
    fingerprint: Fingerprint
    metadata: dict[str, str]
    #: OpenAI's ``chunking_strategy`` for files without a strategy of their own; None: auto.
    chunking_strategy: dict[str, Any] | None
    #: OpenAI's ``expires_after``: {"anchor": "last_active_at", "days": n}; None: the store never expires.
    expires_after: dict[str, Any] | None
    #: If true, the readable pages of a damaged document are indexed.
    partial: bool
    #: Mode of optical character recognition for files without a mode of their own; None: ``CLUSTER_OCR``.
    ocr: OcrMode | None
    #: Languages of the text to recognise, such as ``deu+eng``; None: ``CLUSTER_OCR_LANGUAGES``.
    ocr_languages: str | None
    created_at: datetime
    last_active_at: datetime
    expires_at: datetime | None

    @property
    def expired(self) -> bool:
        """True if the store has expired. Searches no longer find the documents of the store."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewStore:
    """Holds the fields that a caller chooses for a new store; see ``VectorStore``."""

    name: str = ""
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    chunking_strategy: Mapping[str, Any] | None = None
    expires_after: Mapping[str, Any] | None = None
    partial: bool = False
    ocr: OcrMode | None = None
    ocr_languages: str | None = None
    index: str = PGVECTOR


EXPIRED = "(expired_at IS NOT NULL OR expires_at IS NOT NULL AND expires_at <= now())"
COLUMNS = ", ".join(f"vector_stores.{field.name}" for field in fields(VectorStore))
SQL = {
    name: text.replace("{columns}", COLUMNS).replace("{expired}", EXPIRED)
    for name, text in queries("cluster.documents.vector_stores", "stores.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def create_store(
    connection: Connection[Any], organisation: str, new: NewStore, *, fingerprint: Fingerprint
) -> VectorStore:
    """Create a store with a random id. Other stores may have the same name.

    Raises:
        NotPermitted: the caller's key is limited to some stores, so it cannot create a store.
    """
    return _insert(connection, organisation, f"vs_{secrets.token_hex(12)}", new, fingerprint)


def ensure_store(
    connection: Connection[Any],
    organisation: str,
    name: str,
    *,
    fingerprint: Fingerprint,
    index: str = PGVECTOR,
    chunking_strategy: Mapping[str, Any] | None = None,
) -> VectorStore:
    """Return the store with this name or id; create the store if it does not exist.

    ``ensure_named_store`` describes the rules and the errors.

    Args:
        index: name of the index that holds a new store's vectors.
        chunking_strategy: how documents of a new store are cut into chunks.
    """
    new = NewStore(name=name, index=index, chunking_strategy=chunking_strategy)
    return ensure_named_store(connection, organisation, new, fingerprint=fingerprint)


def ensure_named_store(
    connection: Connection[Any], organisation: str, new: NewStore, *, fingerprint: Fingerprint
) -> VectorStore:
    """Return the store whose name or id is the name of ``new``; create the store if it does not exist. Safe
    to repeat and to call concurrently.

    A new store gets the id that ``records.vector_store_id`` makes of its name. If a deleted or expired store
    still has that id, the new store gets a random id and can be found by its name.

    Args:
        organisation: id of the store's organisation, which must exist.
        new: the name or id to find, and the other fields of a new store.
        fingerprint: the fingerprint of a new store's vectors; an existing store keeps its fingerprint.

    Raises:
        InvalidInput: the name is empty, longer than ``LONGEST_NAME``, or not valid text.
        NotFound: the name looks like an id, and no store has this id. A mistyped id must not become a name.
        NotPermitted: the caller's key is limited to other stores.
    """
    name = new.name
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
        return _make_named(connection, organisation, new, fingerprint)


def find_store(connection: Connection[Any], organisation: str, id_or_name: str) -> VectorStore:
    """Return the store with this id, or the oldest store with this name. Ignore deleted and expired stores.

    Raises:
        NotFound: the organisation has no such store; the error names existing stores.
        NotPermitted: the caller's key is limited to other stores.
    """
    row = _one(connection, "find", {"organisation": organisation, "id_or_name": id_or_name})
    if row is None:
        raise not_found(connection, organisation, id_or_name)
    return store_of(row)


def not_found(connection: Connection[Any], organisation: str, id_or_name: str) -> NotFound:
    """Return the error about a missing store. The error names existing stores."""
    page = PageRequest(limit=NAMES_SHOWN, newest_first=False)
    stores = list_stores(connection, organisation, page).items
    names = [store.name or store.id for store in stores if not store.expired]
    existing = f"there are: {', '.join(names)}" if names else "there is none yet"
    return NotFound(f"no vector store {id_or_name!r}; {existing}")


def get_store(connection: Connection[Any], organisation: str, id: str) -> VectorStore:
    """Return the store with this id, even if it has expired.

    Raises:
        NotFound: the organisation has no such store.
        NotPermitted: the caller's key is limited to other stores.
    """
    row = _one(connection, "get", {"organisation": organisation, "id": id})
    if row is None:
        raise NotFound(f"no vector store {id!r}")
    return store_of(row)


def require_live(store: VectorStore) -> VectorStore:
    """Return the store if it has not expired.

    Raises:
        Conflict: the store has expired.
    """
    if store.expired:
        raise Conflict(f"vector store {store.id!r} has expired; create a new one")
    return store


def list_stores(
    connection: Connection[Any], organisation: str, page: PageRequest = FIRST_PAGE
) -> ListPage[VectorStore]:
    """Return a page of the organisation's stores that the caller may use, including expired stores.

    Raises:
        InvalidInput: the cursor of ``page`` names no store of the organisation.
    """
    values = {"organisation": organisation, "kind": DELETE_STORE.name, "only": permitted_stores()}
    found = read_page(connection, LISTS, values, page)
    return ListPage(items=[store_of(row) for row in found.items], has_more=found.has_more)


def update_store(
    connection: Connection[Any], organisation: str, id: str, changes: Mapping[str, Any]
) -> VectorStore:
    """Change some fields of a store; ``changes`` has values of fields of ``NewStore``, except ``index``.

    Raises:
        NotFound: the organisation has no such store.
        NotPermitted: the caller's key is limited to other stores.
        Conflict: the store has expired.
    """
    with connection.transaction():
        row = _one(connection, "lock", {"organisation": organisation, "id": id})
        if row is None:
            raise NotFound(f"no vector store {id!r}")
        store = replace(require_live(store_of(row)), **changes)
        row = _one(connection, "update", _values(store))
    assert row is not None
    return store_of(row)


def touch_store(connection: Connection[Any], store: VectorStore) -> None:
    """Record that the store is in use. Sends no query if the last record is less than a minute old."""
    if datetime.now(UTC) - store.last_active_at >= TOUCH_INTERVAL:
        connection.execute(SQL["touch"], {"organisation": store.organisation, "id": store.id})


def delete_store(connection: Connection[Any], organisation: str, id: str) -> Job:
    """Hide the store, then submit and return the job that deletes its contents.

    Raises:
        NotFound: the organisation has no such store.
        NotPermitted: the caller's key is limited to other stores.
    """
    require_store(id)
    with connection.transaction():
        row = connection.execute(SQL["delete"], {"organisation": organisation, "id": id}).fetchone()
        if row is None:
            raise NotFound(f"no vector store {id!r}")
        return submit_deletion(connection, organisation, id, made=row[0])


def submit_deletion(connection: Connection[Any], organisation: str, id: str, *, made: datetime) -> Job:
    """Submit the job that deletes the store's contents.

    Args:
        made: creation time of the store. The job keeps the time for list cursors that name this store.
    """
    input = {"vector_store": id, "made": made.isoformat()}
    return submit(connection, organisation, DELETE_STORE, input, subject=id)


def _make_named(
    connection: Connection[Any], organisation: str, new: NewStore, fingerprint: Fingerprint
) -> VectorStore:
    with connection.transaction():
        connection.execute(SQL["lock_name"], {"organisation": organisation, "name": new.name})
        try:
            return find_store(connection, organisation, new.name)  # succeeds if another caller was faster
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
    require_new_store()
    values = {
        "organisation": organisation,
        "id": id,
        "collection": collection_name(fingerprint),
        "fingerprint_id": fingerprint.id,
        "fingerprint": Jsonb(fingerprint.to_dict()),
        "key": current_key(),
        **_values(new),
    }
    row = _one(connection, "insert", values)
    if row is None:
        raise Conflict(f"vector store {id!r} exists already")
    return store_of(row)


def _values(store: VectorStore | NewStore) -> dict[str, Any]:
    """Convert the fields, except the fingerprint, to SQL parameters. Objects become JSON."""
    values = {field.name: getattr(store, field.name) for field in fields(store)}
    return {
        name: Jsonb(dict(value)) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if name != "fingerprint"
    }


def _one(connection: Connection[Any], statement: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SQL[statement], values).fetchone()


def store_of(row: dict[str, Any]) -> VectorStore:
    """Make the store from a database row.

    Raises:
        NotPermitted: the caller's key is limited to other stores.
    """
    require_store(row["id"])
    return VectorStore(**{**row, "fingerprint": Fingerprint(**row["fingerprint"])})
