"""Read the versions of vector stores. A version changes with each commit that changes what searches of the
store find.

Searches cache their results under the version of the store. Triggers of the chunk tables (migration 0016)
change the version, so no writer can forget to change it. A version contains a sum of counters, and each
commit with such a change increases the sum by at least one.

    found = find_versioned_store(connection, "default", "handbook")
    found.version
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.stores import VectorStore

SQL = {
    name: text.replace("{find}", stores.SQL["find"])
    for name, text in queries("cluster.documents.vector_stores", "store_versions.sql").items()
}


@dataclass(frozen=True, order=True, slots=True)
class StoreVersion:
    """The version of a store's contents. Later versions are greater."""

    #: Creation time of the store. A new store can have the id of a deleted store, and the creation time makes
    #: the versions of the new store greater.
    created_at: datetime
    #: Number of changes that were committed since the creation of the store.
    changes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionedStore:
    """A store, and its version when it was read from the database."""

    store: VectorStore
    version: StoreVersion
    #: Seconds since the last change of the store; infinite if there was no change.
    unchanged_s: float
    #: The text search configurations of the store's chunks; None if they were not read.
    text_configurations: Sequence[str] | None = None


def find_versioned_store(connection: Connection[Any], organisation: str, id_or_name: str) -> VersionedStore:
    """Find a store as ``find_store`` does, and read its version in the same query.

    Raises:
        NotFound: the organisation has no such store; the error names existing stores.
        NotPermitted: the caller's key is limited to other stores.
    """
    values = {"organisation": organisation, "id_or_name": id_or_name}
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["find_versioned"], values).fetchone()
    if row is None:
        raise stores.not_found(connection, organisation, id_or_name)
    changes, unchanged_s = row.pop("changes"), row.pop("unchanged_s")
    configurations = row.pop("text_configurations")
    store = stores.store_of(row)
    return VersionedStore(
        store=store,
        version=StoreVersion(store.created_at, changes),
        unchanged_s=unchanged_s,
        text_configurations=configurations,
    )
