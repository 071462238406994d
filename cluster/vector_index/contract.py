"""The contract of vector indexes: where the vectors of chunks lie, and how the nearest ones are found.

A vector index knows ids, vectors and the attributes that filters ask for. Texts, full text and the question
which chunks are current belong to our Postgres (``cluster.documents.chunks.chunk_store``).
``cluster.documents.indexing`` is the only caller; it reads ``capabilities`` and chooses one of two ways to
write:

- ``TransactionalIndex``: the vectors lie in the rows of our chunk table, so that writing a chunk writes its
  vector;
- ``ExternalIndex``: the vectors lie outside our Postgres, and writing them is a call of its own.

Every method names the organisation, and no query runs without it. Errors are ``Retryable`` (with
``retry_after_s``), ``Throttled`` or ``Permanent``. Adapters never retry: the caller does, once. Arguments are
checked before an adapter gets them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.errors import Permanent
from cluster.vector_index.collections import Collection
from cluster.vector_index.filters import Filter

Mode = Literal["exact", "ann"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What the callers of an index may rely on."""

    #: The vectors lie in our chunk table: the index is a ``TransactionalIndex``, else an ``ExternalIndex``.
    transactional: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorRecord:
    """The part of a chunk that an external index keeps."""

    #: Id of the chunk.
    id: str
    #: JSON values that filters can ask for.
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
    """How each row of a write ended; the counts add up to the distinct rows of the call."""

    #: Rows that are new or differ from the stored ones.
    written: int = 0
    #: Rows that were stored already, with the same content.
    unchanged: int = 0
    #: Rows of the document that its new version no longer has.
    deleted: int = 0
    #: id -> reason, for rows that could not be written.
    failed: Mapping[str, str] = field(default_factory=dict)

    def require_all(self) -> None:
        """Return where every row is stored.

        Raises:
            Permanent: with ``row_ids`` of the rows that are not, and the reason of the first.
        """
        if self.failed:
            (first, reason), more = next(iter(self.failed.items())), len(self.failed) - 1
            others = f", nor {more:,} others" if more else ""
            raise Permanent(
                f"the vector index did not store row {first}{others}: {reason}", row_ids=tuple(self.failed)
            )


class VectorIndex(Protocol):
    """The part of the contract that every index has."""

    @property
    def capabilities(self) -> Capabilities:
        """What callers may rely on."""

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
        """The k nearest vectors of the store whose attributes pass the filter, best first, equal scores by
        id.

        Args:
            vector: (dim,) float32.
            mode: exact compares every vector of the store; ann may use an approximate index.
        """

    def optimise(self, collection: Collection) -> None:
        """Build the approximate index where the collection has grown to need one; harmless to repeat."""


class TransactionalIndex(VectorIndex, Protocol):
    """An index over the vector column of our chunk table. The chunk table's own writes and deletions are its
    writes.
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
    ) -> list[ScoredId]:
        """``search`` in the state that the connection's transaction sees."""

    def analysed_rows(self, collection: Collection) -> int:
        """Rows of the whole collection when it was last analysed; -1 before."""

    def drop_approximate(self, collection: Collection) -> bool:
        """Drop the approximate index before a large load; False while another session has it."""


class ExternalIndex(VectorIndex, Protocol):
    """An index outside our Postgres. Its calls are never made while a row is locked."""

    def ensure(self, collection: Collection) -> None:
        """Make the collection ready for writes. Safe to repeat and to race."""

    def upsert(
        self, organisation: str, store: str, records: Sequence[VectorRecord], *, collection: Collection
    ) -> Written:
        """Insert or replace vectors; ids are distinct. Repeating a call changes nothing.

        The answer accounts for every record. A record in ``failed`` may be sent again.
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
        """Delete vectors by id; ids that are not stored are no error."""

    def delete_store(self, organisation: str, store: str, *, collection: Collection) -> None:
        """Delete every vector of the store."""

    def fetch(
        self, organisation: str, store: str, ids: Sequence[str], *, collection: Collection
    ) -> dict[str, NDArray[np.float32]]:
        """The stored vectors among these ids, by id."""

    def count(self, organisation: str, store: str, *, collection: Collection) -> int:
        """Vectors of the store."""

    def wait_visible(
        self,
        organisation: str,
        store: str,
        ids: Sequence[str],
        *,
        collection: Collection,
        timeout_s: float = 60.0,
    ) -> None:
        """Return once searches see these vectors.

        Raises:
            Unavailable: they are not visible within the timeout.
        """
