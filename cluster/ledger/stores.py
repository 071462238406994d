"""Vector stores: the named sets of documents that a search runs over.

Called by the jobs that fill them and by search; every call names the organisation.

    store = ensure_store(connection, "default", "handbook", fingerprint=engine.fingerprint)
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, NotFound
from cluster.records import vector_store_id
from cluster.vector_index.contract import collection_name

SQL = queries("cluster.ledger", "stores.sql")
ID = re.compile(r"^vs_[0-9a-f]{24}$")
#: Stores named in the error of a search for one that is not there.
NAMES_SHOWN = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorStore:
    """A named set of documents with vectors of one fingerprint."""

    organisation: str
    id: str
    name: str
    #: Collection of the vector index that holds its rows.
    collection: str
    #: Which space its vectors lie in.
    fingerprint: Fingerprint
    created_at: datetime


def ensure_store(connection: Connection[Any], organisation: str, name: str, *, fingerprint: Fingerprint) -> VectorStore:
    """The store of this name (or id), made if it is not there, with its organisation. Safe to repeat and to race.

    Raises:
        Conflict: it is there with vectors of another fingerprint.
        NotFound: what looks like an id is not there; a mistyped id must not become a name.
    """
    try:
        store = find_store(connection, organisation, name)
    except NotFound:
        if ID.match(name):
            raise
        values = {
            "organisation": organisation,
            "id": vector_store_id(organisation, name),
            "name": name,
            "collection": collection_name(fingerprint),
            "fingerprint_id": fingerprint.id,
            "fingerprint": Jsonb(fingerprint.as_dict()),
        }
        connection.execute(SQL["insert"], values)
        store = find_store(connection, organisation, name)
    if store.fingerprint.id != fingerprint.id:
        raise Conflict(
            f"vector store {name!r} holds vectors of {store.fingerprint.id}, but the model here is {fingerprint.id}; "
            "their vectors cannot be compared: use another store, or the model it was built with"
        )
    return store


def find_store(connection: Connection[Any], organisation: str, id_or_name: str) -> VectorStore:
    """The organisation's store of this id, or else the oldest of this name.

    Raises:
        NotFound: naming stores that are there.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["find"], {"organisation": organisation, "id_or_name": id_or_name}).fetchone()
    if row is None:
        names = [store.name for store in list_stores(connection, organisation)]
        there = f"there are: {', '.join(names[:NAMES_SHOWN])}" if names else "there is none yet"
        raise NotFound(f"no vector store {id_or_name!r}; {there}")
    return _store(row)


def list_stores(connection: Connection[Any], organisation: str) -> list[VectorStore]:
    """The organisation's stores, oldest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_store(row) for row in cursor.execute(SQL["list"], {"organisation": organisation})]


def delete_store(connection: Connection[Any], organisation: str, id: str) -> bool:
    """Forget the store and its documents; its vectors are the index's to delete. True when it was there."""
    return connection.execute(SQL["delete"], {"organisation": organisation, "id": id}).rowcount > 0


def _store(row: dict[str, Any]) -> VectorStore:
    return VectorStore(**{**row, "fingerprint": Fingerprint(**row["fingerprint"])})
