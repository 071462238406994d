"""What a vector index promises, whichever database stands behind it.

Called by the write stage (``replace_document``), by search and by retention. Every method names the organisation;
no query runs without it. Errors are ``Retryable`` (with ``retry_after_s``), ``Throttled`` or ``Permanent`` (with
row ids); adapters never retry by themselves, the caller does, once.

    index = open_vector_index(settings, pool)
    index.ensure("minilm", dim=384, metric="cosine")
    index.search("default", "vs_1", collection="minilm", vector=query, k=5)
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.engines.contract import Fingerprint
from cluster.errors import Permanent

#: What ``ensure`` takes for a name.
COLLECTION_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

Metric = Literal["cosine", "dot", "euclidean"]
Mode = Literal["exact", "ann"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A chunk as the index keeps it."""

    id: str
    #: Id of the document the chunk belongs to.
    document: str
    text: str
    #: What a filter can ask for and a hit shows: source, page, start, end, keywords, ...; JSON values only.
    attributes: Mapping[str, Any]
    #: (dim,) float32; None in ``replace_document`` for a chunk that is stored already and keeps its vector.
    vector: NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A row found, best first."""

    id: str
    document: str
    text: str
    attributes: Mapping[str, Any]
    #: Similarity, higher is better: cosine in [-1, 1], dot product, or minus the distance; when
    #: rankings were fused, their RRF sum over the best there can be, in (0, 1].
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """Where every row of a write went; the counts add up to the distinct rows given."""

    #: Rows that are new or differ from what was stored.
    written: int = 0
    #: Rows stored already, exactly so.
    unchanged: int = 0
    #: Rows of the document that its new version no longer has.
    deleted: int = 0
    #: id -> reason, for rows that could not be written.
    failed: Mapping[str, str] = field(default_factory=dict)

    def require_all(self) -> None:
        """Nothing, where every row is stored.

        Raises:
            Permanent: with ``row_ids`` of those that are not, and the reason of the first.
        """
        if self.failed:
            (first, reason), more = next(iter(self.failed.items())), len(self.failed) - 1
            others = f", nor {more:,} others" if more else ""
            raise Permanent(
                f"the vector index did not store row {first}{others}: {reason}", row_ids=tuple(self.failed)
            )


class VectorIndex(Protocol):
    """See the module's docstring. ``collection`` is what ``ensure`` made."""

    def ensure(self, collection: str, *, dim: int, metric: Metric = "cosine") -> None:
        """Make the collection if it is not there. Safe to repeat and to race.

        Raises:
            Conflict: it exists with another dimension or metric.
            InvalidInput: the name is not ``[a-z][a-z0-9_]{0,39}``, or dim is not in 1..16000.
        """

    def upsert(self, organisation: str, store: str, rows: Sequence[Row], *, collection: str) -> Written:
        """Insert or update rows, each with its vector. Duplicate ids in one call collapse to the last.

        Raises:
            InvalidInput: with ``row_ids`` of rows that cannot be stored, or never found: a vector of another dimension,
                with NaN, or without direction under cosine; text with NUL; attributes that are not JSON. Nothing is written.
        """

    def replace_document(
        self,
        organisation: str,
        store: str,
        document: str,
        rows: Sequence[Row],
        *,
        collection: str,
        connection: Any = None,
    ) -> Written:
        """Make the document consist of exactly these rows, at once; another writer of the document waits.

        Rows with ``vector=None`` must be stored already; they keep their vector and take the new attributes.
        Where the adapter lives in our Postgres, ``connection`` (psycopg, inside a transaction) makes the write part of
        the caller's transaction; without it the call is its own.

        Raises:
            Permanent: with ``row_ids`` of rows without vector that are not stored.
            InvalidInput: as ``upsert``; and rows of another document.
        """

    def stored_ids(self, organisation: str, store: str, document: str, *, collection: str) -> set[str]:
        """Ids of the document's rows."""

    def document_rows(
        self, organisation: str, store: str, document: str, *, collection: str, connection: Any = None
    ) -> list[Row]:
        """The document's rows without their vectors, ordered by id: as ``replace_document`` takes them to change their attributes."""

    def delete_document(
        self, organisation: str, store: str, document: str, *, collection: str, connection: Any = None
    ) -> int:
        """Rows deleted; ``connection`` as in ``replace_document``."""

    def delete_store(
        self,
        organisation: str,
        store: str,
        *,
        collection: str,
        limit: int | None = None,
        connection: Any = None,
    ) -> int:
        """Rows deleted, ``limit`` of them at most; ``connection`` as in ``replace_document``."""

    def delete_organisation(self, organisation: str, *, collection: str) -> int:
        """Rows deleted."""

    def search(
        self,
        organisation: str,
        store: str,
        *,
        collection: str,
        vector: NDArray[np.float32] | None = None,
        text: str | None = None,
        k: int = 10,
        filter: Mapping[str, Any] | None = None,
        mode: Mode = "ann",
        connection: Any = None,
    ) -> list[Hit]:
        """The k best rows by vector, by text (their words and their phrase), or by both; rankings are fused (RRF, k=60).

        Args:
            filter: OpenAI's comparison and compound filters; see ``filters.parse_filter``.
            mode: exact compares every row of the store; ann may use the approximate index.
            connection: as in ``replace_document``: with ``cluster.database.snapshot`` several searches see one state of the store.

        Raises:
            InvalidInput: unknown filter operator, wrong dimension, k not in 1..1000, neither vector nor text.
        """

    def count(self, organisation: str, store: str, *, collection: str) -> int:
        """Rows in the store."""

    def scan(self, organisation: str, store: str, *, collection: str) -> Iterator[Row]:
        """Every row of the store with its vector, ordered by id, a bounded number in memory."""

    def bulk_load(self, organisation: str, store: str, rows: Iterable[Row], *, collection: str) -> Written:
        """Upsert many rows fast: the approximate index is built after, not during."""

    def optimise(self, collection: str) -> None:
        """Build the approximate index where the collection has grown to need one, and renew some rows that an older version
        wrote; harmless to repeat."""

    def wait_visible(
        self, organisation: str, store: str, ids: Sequence[str], *, collection: str, timeout_s: float = 60.0
    ) -> None:
        """Return once searches see these rows; at once where writes are visible on commit.

        Raises:
            Unavailable: not visible within the timeout.
        """


def collection_name(fingerprint: Fingerprint) -> str:
    """The collection for vectors of this fingerprint: spaces never share an approximate index."""
    words = re.sub(r"[^a-z0-9]+", "_", fingerprint.model.lower()).strip("_")
    return f"m_{words[:24]}_{fingerprint.id.rpartition('@')[2]}"
