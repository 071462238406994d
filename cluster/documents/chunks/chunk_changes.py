"""Delete chunks or change their attributes in the caller's transaction, without a call to a vector index.

Searches see the change as soon as the transaction commits. The outbox deletes or changes vectors in an
external index after the transaction.

    with connection.transaction():
        delete_document(connection, "default", "vs_1", document, collection="m_minilm_0123")
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection

from cluster.documents import outbox
from cluster.documents.chunks import chunk_store


def delete_document(
    connection: Connection[Any], organisation: str, store: str, document: str, *, collection: str
) -> int:
    """Delete the document's chunks in the caller's transaction. Returns the number of deleted chunks.

    As soon as the transaction commits, searches no longer find the chunks. The outbox deletes vectors in an
    external index after the transaction.
    """
    return delete_documents(connection, organisation, store, [document], collection=collection)


def delete_documents(
    connection: Connection[Any], organisation: str, store: str, documents: Sequence[str], *, collection: str
) -> int:
    """Delete the chunks of the documents as ``delete_document`` does. Returns the number of chunks."""
    deleted = chunk_store.delete_documents(connection, organisation, store, documents, collection=collection)
    outbox.add(connection, organisation, store, deleted.outside)
    return deleted.count


def delete_chunks(
    connection: Connection[Any], organisation: str, store: str, ids: Sequence[str], *, collection: str
) -> int:
    """Delete the chunks with these ids in the caller's transaction. Returns the number of deleted chunks. The
    outbox deletes vectors in an external index after the transaction.
    """
    deleted = chunk_store.delete_chunks(connection, organisation, store, ids, collection=collection)
    outbox.add(connection, organisation, store, deleted.outside)
    return deleted.count


def delete_store(
    connection: Connection[Any], organisation: str, store: str, *, collection: str, limit: int
) -> int:
    """Delete at most ``limit`` chunks of a deleted or expired store, and return the number of deleted chunks.
    If an external index has vectors of these chunks, the outbox gets one entry for all vectors of the store.
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
    """Replace the attributes of the chunks whose ids are the keys of ``attributes``, in the caller's
    transaction. The outbox sends the attributes to an external index after the transaction.
    """
    changed = chunk_store.set_attributes(connection, organisation, store, attributes, collection=collection)
    outbox.add(connection, organisation, store, changed.outside)
