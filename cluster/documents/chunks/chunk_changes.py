"""Delete chunks, or change their attributes, in the caller's transaction; no vector index is needed for that.

Searches see the change at once. The vectors of chunks in an external index are deleted or changed after the
transaction, by way of the outbox.

    with connection.transaction():
        delete_document(connection, "default", "vs_1", document, collection="m_minilm_0123")
"""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection

from cluster.documents import outbox
from cluster.documents.chunks import chunk_store


def delete_document(
    connection: Connection[Any], organisation: str, store: str, document: str, *, collection: str
) -> int:
    """Delete the document's chunks in the caller's transaction. Returns their number.

    Searches do not find them from then on. Vectors in an external index are deleted after it, by way of the
    outbox.
    """
    deleted = chunk_store.delete_document(connection, organisation, store, document, collection=collection)
    outbox.add(connection, organisation, store, deleted.outside)
    return deleted.count


def delete_store(
    connection: Connection[Any], organisation: str, store: str, *, collection: str, limit: int
) -> int:
    """The same for at most ``limit`` chunks of a store that is deleted or has expired; an external index is
    told once.
    """
    deleted = chunk_store.delete_store(connection, organisation, store, collection=collection, limit=limit)
    if deleted.outside:
        outbox.add(connection, organisation, store, [outbox.WHOLE_STORE])
    return deleted.count


def set_attributes(
    connection: Connection[Any],
    organisation: str,
    store: str,
    attributes: Mapping[str, Mapping[str, Any]],
    *,
    collection: str,
) -> None:
    """Replace the attributes of chunks, by id, in the caller's transaction. An external index gets them after
    it.
    """
    changed = chunk_store.set_attributes(connection, organisation, store, attributes, collection=collection)
    outbox.add(connection, organisation, store, changed.outside)
