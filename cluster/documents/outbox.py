"""Keep the outbox: the ids of chunks for which an external vector index may differ from our chunk table.

A vector outside our Postgres cannot be written in the transaction that makes its chunk current. So a writer
reserves the ids (``reserve``) before it sends the vectors, and releases the ids (``release``) in the
transaction that makes the chunks current. The transaction that deletes a chunk or changes its attributes adds
the chunk's id (``add``). ``empty`` makes the index agree with the chunk table again (it reconciles the ids):
it deletes the vectors of ids without a current chunk, and sends the current attributes of all other ids.

An entry is a lease. An id that is being sent cannot be reserved, and a reserved id is not sent. If a writer
dies, its entries are due after ``GRACE_S`` seconds. Then the vectors of these entries are deleted, unless
their chunks are current. No call to an index happens inside a transaction.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.queries import queries
from cluster.documents.chunks import chunk_store
from cluster.errors import ClusterError, NotFound, Retryable, Unavailable
from cluster.vector_index.collections import look_up
from cluster.vector_index.contract import ExternalIndex

log = structlog.get_logger(__name__)

SQL = queries("cluster.documents", "outbox.sql")
#: A writer has this many seconds between reserving ids and making their chunks current.
GRACE_S = 3_600.0
#: A sender has this many seconds for one batch. If reading the batch took more than half of this time, the
#: sender sends nothing.
LEASE_S = 300.0
IDS_PER_BATCH = 1_000
#: Backoff in seconds after a failed attempt. It starts at the first value and doubles up to the second.
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 3_600.0
#: A writer waits this many seconds if one of its ids is being sent at the moment.
RETRY_AFTER_S = 1.0
#: Id in the outbox that means every vector of a store.
WHOLE_STORE = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Identifies the vectors of one store."""

    organisation: str
    store: str
    #: Name of the index that stores the vectors.
    index: str
    collection: str


def reserve(connection: Connection[Any], place: Place, ids: Sequence[str]) -> str:
    """Reserve ids before their vectors are sent. Returns the token for releasing the ids.

    Raises:
        Retryable: the vectors of the whole store are being deleted, or some of the ids are being sent at this
            moment. The transaction must be rolled back.
    """
    values = _values(place, ids=sorted(ids), holder=uuid4().hex, grace_s=GRACE_S)
    emptied = connection.execute(SQL["store_is_being_emptied"], values).fetchone()
    if emptied is not None or connection.execute(SQL["reserve"], values).rowcount < len(ids):
        raise Retryable(
            f"old vectors of vector store {place.store!r} are being deleted; try again in a second",
            retry_after_s=RETRY_AFTER_S,
        )
    return str(values["holder"])


def release(connection: Connection[Any], place: Place, ids: Sequence[str], holder: str) -> None:
    """Release reserved ids, in the transaction that makes their chunks current.

    Raises:
        Retryable: another writer or a sender has taken some of the ids; write the vectors again. The error is
            not ``Unavailable`` because workers treat ``Unavailable`` from a transaction as a lost database.
    """
    values = _values(place, ids=list(ids), holder=holder)
    if connection.execute(SQL["release"], values).rowcount < len(ids):
        raise Retryable(
            f"another writer wrote the same vectors of vector store {place.store!r} at the same time; "
            "write them again",
            retry_after_s=RETRY_AFTER_S,
        )


def give_up(connection: Connection[Any], place: Place, holder: str) -> None:
    """End a reservation whose chunks will not become current. Vectors without a current chunk are then
    deleted soon instead of after ``GRACE_S``.
    """
    connection.execute(SQL["give_up"], _values(place, holder=holder))


def add(connection: Connection[Any], organisation: str, store: str, ids: Sequence[str]) -> None:
    """Add to the outbox the ids of chunks that were deleted or have new attributes. The id ``WHOLE_STORE``
    means every vector of the store.
    """
    if ids:
        values = {"organisation": organisation, "store": store, "ids": sorted(ids)}
        connection.execute(SQL["add"], values)


def empty(
    pool: ConnectionPool,
    open_index: Callable[[str], ExternalIndex],
    *,
    limit_s: float,
    organisation: str | None = None,
    store: str | None = None,
) -> int:
    """Reconcile the ids that are due. Returns the number of reconciled ids.

    If the index of a store fails, the store is skipped, and its ids are due again after a backoff.

    Args:
        open_index: returns the index with a given name.
        limit_s: seconds after which no further batch begins.
        organisation: reconcile only the store with this organisation and the id ``store``; None: all stores.
    """
    deadline, done, failed = time.monotonic() + limit_s, 0, set[str]()
    while time.monotonic() < deadline:
        with translated(), pool.connection() as connection:
            values = {"organisation": organisation, "store": store, "skipped": sorted(failed)}
            row = connection.execute(SQL["first_due"], values).fetchone()
        if row is None:
            break
        place = Place(organisation=row[0], store=row[1], index=row[2], collection=row[3])
        sent = _send_batch(pool, open_index, place)
        if sent is None:
            failed.add(f"{place.organisation}/{place.store}")
        done += sent or 0
    return done


def _send_batch(pool: ConnectionPool, open_index: Callable[[str], ExternalIndex], place: Place) -> int | None:
    """Reconcile one batch of ids of the store. Return the number of ids in the batch; None if the index
    failed or another sender has the ids.
    """
    holder, began = uuid4().hex, time.monotonic()
    taken = _values(place, holder=holder, lease_s=LEASE_S, limit=IDS_PER_BATCH)
    with translated(), pool.connection() as connection:
        ids = [id for (id,) in connection.execute(SQL["take"], taken)]
        if not ids:  # another sender has taken the ids
            return None
        collection = look_up(connection, place.collection)
        key = (place.organisation, place.store)
        current = chunk_store.fetch(connection, *key, ids, collection=place.collection) if collection else {}
    failed = False
    try:
        if collection is None:
            raise NotFound(f"no collection {place.collection!r}")
        if time.monotonic() - began > LEASE_S / 2:
            raise Unavailable("the database took longer than half a lease")
        index = open_index(place.index)
        if WHOLE_STORE in ids:
            index.delete_store(*key, collection=collection)
        gone = [id for id in ids if id not in current and id != WHOLE_STORE]
        if gone:
            index.delete(*key, gone, collection=collection)
        if current:
            attributes = {id: record.attributes for id, record in current.items()}
            index.set_attributes(*key, attributes, collection=collection).require_all()
    except ClusterError as exc:
        failed = True
        log.warning(
            "vector_outbox_not_sent",
            organisation=place.organisation,
            vector_store=place.store,
            index=place.index,
            ids=len(ids),
            reason=str(exc),
        )
    ended = _values(place, holder=holder, failed=failed, first_s=FIRST_BACKOFF_S, longest_s=LONGEST_BACKOFF_S)
    with translated(), pool.connection() as connection:
        if not failed:
            connection.execute(SQL["sent"], ended)
            connection.execute(SQL["changed"], ended)
        connection.execute(SQL["send_again"], ended)
    return None if failed else len(ids)


def _values(place: Place, **more: Any) -> dict[str, Any]:
    return {
        "organisation": place.organisation,
        "store": place.store,
        "index": place.index,
        "collection": place.collection,
        **more,
    }
