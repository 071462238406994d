"""Compare the chunks of a vector store in our Postgres with the store's vectors in an external index.

The ailments in ``index_ailments`` call this module.

    place = StoreInIndex(organisation="acme", store="vs_1", index=external, collection=collection)
    if may_differ(pool, place):
        compare(pool, place).orphans
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.doctor.ailment import SQL
from cluster.vector_index.collections import Collection
from cluster.vector_index.contract import ExternalIndex

#: Number of chunks whose vectors a quick comparison fetches.
SAMPLE = 200
#: Number of ids in one query.
IDS_PER_QUERY = 1_000
#: Maximum number of missing ids, and of orphaned ids, that one comparison returns. The next comparison finds
#: the rest.
MAX_IDS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreInIndex:
    """Names a vector store, and the index that holds the vectors of this store."""

    organisation: str
    store: str
    index: ExternalIndex
    collection: Collection

    @property
    def key(self) -> tuple[str, str]:
        """The organisation and the id of the store."""
        return self.organisation, self.store


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexDifference:
    """Lists the ids of chunks and vectors in which a store and its index differ."""

    #: Ids of chunks without a vector.
    missing: Sequence[str]
    #: Ids of vectors that have neither a chunk nor an entry in the outbox.
    orphans: Sequence[str]


def may_differ(pool: ConnectionPool, place: StoreInIndex) -> bool:
    """Return True if the counts differ, or if some of a random sample of chunks have no vector. Vectors with
    an entry in the outbox are not counted as a difference.
    """
    ((chunks,),) = _rows(pool, place, "chunk_count")
    ((entries,),) = _rows(pool, place, "outbox_count")
    vectors = place.index.count(*place.key, collection=place.collection)
    if not chunks <= vectors <= chunks + entries:
        return True
    first = f"chk_{token_hex(16)}"
    sample = [id for (id,) in _rows(pool, place, "sampled_chunks", first=first, limit=SAMPLE)]
    return bool(_without_vector(place, sample))


def compare(pool: ConnectionPool, place: StoreInIndex) -> IndexDifference:
    """Compare the ids of all chunks with the ids of all vectors. This takes eight bytes of memory for each
    vector.
    """
    hashes, orphans = array("q"), list[str]()
    for page in place.index.ids(*place.key, collection=place.collection):
        hashes.extend(map(_hash, page))
        if len(orphans) < MAX_IDS:
            orphans += _unknown(pool, place, page)
    stored = np.unique(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
    missing: list[str] = []
    for part in _chunk_ids(pool, place):
        # A vector may have been written after its page of ids was listed. ``_without_vector`` finds it now.
        missing += _without_vector(place, _not_among(part, stored))
        if len(missing) >= MAX_IDS:
            break
    # A chunk that was deleted during the comparison needs no vector, so ``_current`` leaves it out.
    return IndexDifference(
        missing=[*_current(pool, place, missing[:MAX_IDS])],
        orphans=_unknown(pool, place, orphans[:MAX_IDS]),
    )


def _without_vector(place: StoreInIndex, ids: Sequence[str]) -> list[str]:
    found = place.index.fetch(*place.key, ids, collection=place.collection) if ids else {}
    return [id for id in ids if id not in found]


def _not_among(ids: Sequence[str], stored: NDArray[np.int64]) -> list[str]:
    hashes = np.fromiter(map(_hash, ids), np.int64, len(ids))
    return [
        id for id, there in zip(ids, np.isin(hashes, stored, assume_unique=True), strict=True) if not there
    ]


def _hash(id: str) -> int:
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little", signed=True)


def _chunk_ids(pool: ConnectionPool, place: StoreInIndex) -> Iterator[list[str]]:
    after = ""
    while ids := [id for (id,) in _rows(pool, place, "chunks_after", after=after, limit=IDS_PER_QUERY)]:
        yield ids
        after = ids[-1]


def _unknown(pool: ConnectionPool, place: StoreInIndex, ids: Sequence[str]) -> list[str]:
    """Return those of the ids that have neither a chunk nor an entry in the outbox."""
    known = {id for part in _parts(ids) for (id,) in _rows(pool, place, "known_ids", ids=part)}
    return [id for id in ids if id not in known]


def _current(pool: ConnectionPool, place: StoreInIndex, ids: Sequence[str]) -> Iterator[str]:
    for part in _parts(ids):
        yield from (id for id, _ in _rows(pool, place, "documents_of_chunks", ids=part))


def documents_of(pool: ConnectionPool, place: StoreInIndex, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return those of the ids that belong to current chunks, as one list for each document."""
    found: dict[str, list[str]] = {}
    for part in _parts(ids):
        for id, document in _rows(pool, place, "documents_of_chunks", ids=part):
            found.setdefault(document, []).append(id)
    return found


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), IDS_PER_QUERY):
        yield list(ids[start : start + IDS_PER_QUERY])


def _rows(pool: ConnectionPool, place: StoreInIndex, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    query = sql.SQL(SQL[statement]).format(table=sql.Identifier(place.collection.table))
    owner = {"organisation": place.organisation, "store": place.store}
    with translated(), pool.connection() as connection:
        return connection.execute(query, {**owner, **values}).fetchall()
