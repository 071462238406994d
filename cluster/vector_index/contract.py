"""The contract of vector indexes, which store the vectors of chunks and find the nearest vectors.

A vector index stores ids, vectors and the attributes that filters compare. Our Postgres stores the texts and
the full-text words, and decides which chunks are current (``cluster.documents.chunks.chunk_store``). Callers
use an index through ``cluster.documents.indexing``. ``indexing`` reads ``capabilities`` and chooses one of
two ways to write:

- ``TransactionalIndex``: the vectors are in the rows of our chunk table, and are written with their chunks;
- ``ExternalIndex``: the vectors are outside our Postgres, so writing vectors needs a separate call.

Every query and write names the organisation. Errors are ``Retryable`` (with ``retry_after_s``), ``Throttled``
or ``Permanent``. One call may send several requests to an external index. If a request fails, one module of
the adapter (``pinecone.requests``) repeats the request, so that the whole call is not repeated. When this
module stops repeating, it raises ``ProviderUnavailable`` or ``Throttled``, and the caller's job waits. The
caller checks arguments before it calls an adapter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.errors import Permanent
from cluster.vector_index.collections import Collection
from cluster.vector_index.filters import Filter

Mode = Literal["exact", "ann"]

#: Maximum number of bytes of the vectors of one write, as float32.
BYTES_PER_WRITE = 8 * 1024 * 1024
FLOAT32_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """The properties of an index on which callers may rely."""

    #: True for a ``TransactionalIndex`` (vectors in our chunk table), False for an ``ExternalIndex``.
    transactional: bool
    #: Number of rows that a caller with many rows should pass in one call. In our Postgres, larger
    #: transactions are not faster, and hold their locks longer. For an external index, a larger number may
    #: fill the requests better.
    rows_per_write: int = 1_000

    def rows_at_once(self, dim: int) -> int:
        """Return ``rows_per_write``, or fewer rows if vectors of this length need too much memory."""
        return max(1, min(self.rows_per_write, BYTES_PER_WRITE // (dim * FLOAT32_BYTES)))


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorRecord:
    """The part of a chunk that an external index stores."""

    #: Id of the chunk.
    id: str
    #: JSON values that filters can compare.
    attributes: Mapping[str, Any]
    #: (dim,) float32.
    vector: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredId:
    """The id of a chunk in a ranking."""

    id: str
    #: Similarity, higher is better: cosine in [-1, 1], dot product, or minus the distance.
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """Counts the rows of a write by result.

    ``written``, ``unchanged`` and the size of ``failed`` add up to the number of distinct rows of the call.
    """

    #: Number of rows that are new or differ from the stored rows.
    written: int = 0
    #: Number of rows that were stored already, with the same content.
    unchanged: int = 0
    #: Number of deleted rows: rows of the document that its new version no longer has.
    deleted: int = 0
    #: id -> reason, for rows that could not be written.
    failed: Mapping[str, str] = field(default_factory=dict)

    def require_all(self) -> None:
        """Check that every row is stored.

        Raises:
            Permanent: with ``row_ids`` of the rows that are not stored, and the reason for the first row.
        """
        if self.failed:
            (first, reason), more = next(iter(self.failed.items())), len(self.failed) - 1
            others = f", nor {more:,} others" if more else ""
            raise Permanent(
                f"the vector index did not store row {first}{others}: {reason}", row_ids=tuple(self.failed)
            )


class VectorIndex(Protocol):
    """The part of the contract that every index implements."""

    @property
    def capabilities(self) -> Capabilities:
        """The properties that callers may rely on."""

    def search(
        self,
        organisation: str,
        store: str,
        *,
        collection: Collection,
        vector: NDArray[np.float32],
        k: int,
        filter: Filter | None = None,
        mode: Mode = "ann",
    ) -> list[ScoredId]:
        """Return the ids and scores of the store's k nearest vectors whose attributes pass the filter.

        The best score is first. Equal scores are ordered by id. An external index that cannot compare
        attributes as ``filters`` does may also return vectors that do not pass the filter. So callers test
        the attributes of each hit (``chunk_search``).

        Args:
            vector: (dim,) float32.
            mode: exact compares every vector of the store, if the index supports this; ann may use an
                approximate index.
        """

    def optimise(self, collection: Collection) -> None:
        """Build the approximate index if the collection is large enough for the index. Safe to repeat."""


class TransactionalIndex(VectorIndex, Protocol):
    """An index over the vector column of our chunk table.

    The index has no write methods, because writes to the chunk table also write to the index.
    """

    def search_within(
        self,
        connection: Connection[Any],
        organisation: str,
        store: str,
        *,
        collection: Collection,
        vector: NDArray[np.float32],
        k: int,
        filter: Filter | None = None,
        mode: Mode = "ann",
        prepared: bool | None = None,
    ) -> list[ScoredId]:
        """Do the same as ``search``, but on the data that the connection's transaction sees.

        Args:
            prepared: what ``prepare_within`` has returned in this transaction for the same collection, k and
                mode; None: it is called here.
        """

    def prepare_within(
        self, connection: Connection[Any], *, collection: Collection, k: int, mode: Mode
    ) -> bool:
        """Set the options of the transaction for ``search_within``, before the vector is known. Return True
        if the approximate index may be used.
        """

    def analysed_rows(self, collection: Collection) -> int:
        """Return the number of rows of the collection at its last analysis; -1 before the first analysis."""

    def lacks_approximate(self, collection: Collection) -> bool:
        """Return True if the collection has no approximate index, although it is large enough for one."""

    def drop_approximate(self, collection: Collection) -> bool:
        """Drop the approximate index before a large load.

        Return False, and drop nothing, if another session is building or dropping the index.
        """


class ExternalIndex(VectorIndex, Protocol):
    """An index outside our Postgres. Callers never call it while they hold the lock of a row."""

    def ensure(self, collection: Collection) -> None:
        """Make the collection ready for writes. Safe to repeat and to call concurrently."""

    def upsert(
        self, organisation: str, store: str, records: Sequence[VectorRecord], *, collection: Collection
    ) -> Written:
        """Insert or replace vectors; ids are distinct. Repeating a call changes nothing.

        The result covers every record. A record in ``failed`` may be sent again.
        """

    def set_attributes(
        self,
        organisation: str,
        store: str,
        attributes: Mapping[str, Mapping[str, Any]],
        *,
        collection: Collection,
    ) -> Written:
        """Replace the attributes of stored vectors, by id. An id that is not stored counts as unchanged."""

    def delete(self, organisation: str, store: str, ids: Sequence[str], *, collection: Collection) -> None:
        """Delete vectors by id. An id that is not stored is not an error."""

    def delete_store(self, organisation: str, store: str, *, collection: Collection) -> None:
        """Delete every vector of the store."""

    def fetch(
        self, organisation: str, store: str, ids: Sequence[str], *, collection: Collection
    ) -> dict[str, NDArray[np.float32]]:
        """Return the stored vectors with these ids, by id. An id that is not stored is left out."""

    def ids(self, organisation: str, store: str, *, collection: Collection) -> Iterator[list[str]]:
        """Yield the ids of all vectors of the store, a page at a time."""

    def count(self, organisation: str, store: str, *, collection: Collection) -> int:
        """Return the number of vectors in the store."""

    def wait_visible(
        self,
        organisation: str,
        store: str,
        ids: Sequence[str],
        *,
        collection: Collection,
        timeout_s: float = 60.0,
    ) -> None:
        """Wait until searches see these vectors.

        Raises:
            Unavailable: some of the vectors are not visible within the timeout.
        """
