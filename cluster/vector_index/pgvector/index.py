"""The vector index in our own Postgres, on pgvector: a table for each collection.

Searches in mode ``exact`` compare float32 vectors and can use no approximate index, since that stands on half
precision; mode ``ann`` takes its candidates from it, where it has been built, and ranks them by float32.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, ServerCursor, sql
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from cluster.database import snapshot, translated
from cluster.errors import Conflict, InvalidInput, NotFound, Permanent
from cluster.vector_index.contract import COLLECTION_NAME, Hit, Metric, Mode, Row, Written
from cluster.vector_index.filter_sql import condition
from cluster.vector_index.filters import parse_filter
from cluster.vector_index.fusion import fuse
from cluster.vector_index.pgvector import upkeep
from cluster.vector_index.pgvector.renewal import renew_words
from cluster.vector_index.pgvector.rows import (
    ROWS_PER_TRANSACTION,
    Accepted,
    accepted,
    batches,
    is_text,
    vector_fault,
)
from cluster.vector_index.pgvector.statements import OPERATORS, Statements
from cluster.vector_index.words import WORDS_VERSION, words

#: Below this an exact scan is as fast as the approximate index, and exact.
ROWS_WORTH_AN_INDEX = 20_000
#: So few rows of a store that pass the filter are compared faster than the index finds them among those that do not:
#: 2 % of 50,000 rows in 2 ms instead of 26.
ROWS_SOON_COMPARED = 5_000
#: Candidates taken from the approximate index for each hit asked for, then ranked exactly.
CANDIDATES_PER_HIT = 4
#: Each ranking that is fused is at least this deep.
FUSION_DEPTH = 50
MAX_K = 1_000
#: After a bulk load, older rows' words are renewed for so long; workers and the doctor do the rest.
RENEWAL_S = 30.0
SCAN_BATCH = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Collection:
    name: str
    dim: int
    metric: Metric


class PgvectorIndex:
    """``VectorIndex`` on a pool of connections to our Postgres. Safe to call from several threads.

    Args:
        pool: from ``cluster.database.open_pool``.
        index_from: rows of a collection from which on it gets an approximate index.
        exact_up_to: a search that at most so many rows can answer compares them all, whatever its mode.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        *,
        index_from: int = ROWS_WORTH_AN_INDEX,
        exact_up_to: int = ROWS_SOON_COMPARED,
    ) -> None:
        self._pool = pool
        self._index_from = index_from
        self._exact_up_to = exact_up_to
        self._collections: dict[str, _Collection] = {}

    def ensure(self, collection: str, *, dim: int, metric: Metric = "cosine") -> None:
        if not COLLECTION_NAME.fullmatch(collection):
            raise InvalidInput(f"collection {collection!r} must match {COLLECTION_NAME.pattern}")
        if not 1 <= dim <= 16_000 or metric not in OPERATORS:
            raise InvalidInput(
                f"collection {collection!r}: dim must be in 1..16000 and metric one of {', '.join(OPERATORS)}"
            )
        made = _Collection(name=collection, dim=dim, metric=metric)
        with translated(), self._pool.connection() as connection:
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('collection/' || %s, 0))", [collection]
            )
            there = _find(connection, collection)
            if there is None:
                connection.execute(
                    "INSERT INTO vector_collections (name, dim, metric, words_version) VALUES (%s, %s, %s, %s)",
                    [collection, dim, metric, WORDS_VERSION],
                )
                connection.execute(Statements(collection, dim).create_table())
        if there is not None and there != made:
            raise Conflict(
                f"collection {collection!r} has dim {there.dim} and metric {there.metric}, not {dim} and {metric}"
            )

    def upsert(self, organisation: str, store: str, rows: Sequence[Row], *, collection: str) -> Written:
        found = self._collection(collection)
        distinct = accepted(rows, dim=found.dim, metric=found.metric, vectors_needed=True)
        written = 0
        for part in batches(distinct, ROWS_PER_TRANSACTION):
            with translated(), self._pool.connection() as connection:
                written += _merge(connection, found, {"organisation": organisation, "store": store}, part)
        return Written(written=written, unchanged=len(distinct) - written)

    def replace_document(
        self,
        organisation: str,
        store: str,
        document: str,
        rows: Sequence[Row],
        *,
        collection: str,
        connection: Connection[Any] | None = None,
    ) -> Written:
        found = self._collection(collection, connection)
        strangers = [row.id for row in rows if row.document != document]
        if strangers:
            raise InvalidInput(
                f"{len(strangers)} rows are not of document {document!r}, {strangers[0]!r} for one",
                row_ids=strangers,
            )
        distinct = accepted(rows, dim=found.dim, metric=found.metric, vectors_needed=False)
        statements = self._statements(collection, connection)
        owner = {"organisation": organisation, "store": store, "document": document}
        with translated(), self._transaction(connection) as joined:
            joined.execute(statements.lock_document(), owner)
            written = _merge(joined, found, owner, distinct)
            deleted = joined.execute(statements.delete_others(), owner).rowcount
        return Written(written=written, unchanged=len(distinct) - written, deleted=deleted)

    def stored_ids(self, organisation: str, store: str, document: str, *, collection: str) -> set[str]:
        statement = self._statements(collection).ids()
        with translated(), self._pool.connection() as connection:
            return {
                id
                for (id,) in connection.execute(
                    statement, {"organisation": organisation, "store": store, "document": document}
                )
            }

    def document_rows(
        self,
        organisation: str,
        store: str,
        document: str,
        *,
        collection: str,
        connection: Connection[Any] | None = None,
    ) -> list[Row]:
        statement = self._statements(collection, connection).document()
        values = {"organisation": organisation, "store": store, "document": document}
        with (
            translated(),
            self._transaction(connection) as joined,
            joined.cursor(row_factory=dict_row) as cursor,
        ):
            return [Row(**row, vector=None) for row in cursor.execute(statement, values)]

    def delete_document(
        self,
        organisation: str,
        store: str,
        document: str,
        *,
        collection: str,
        connection: Connection[Any] | None = None,
    ) -> int:
        return self._delete(
            collection, connection, organisation=organisation, vector_store=store, document=document
        )

    def delete_store(
        self,
        organisation: str,
        store: str,
        *,
        collection: str,
        limit: int | None = None,
        connection: Connection[Any] | None = None,
    ) -> int:
        return self._delete(collection, connection, limit, organisation=organisation, vector_store=store)

    def delete_organisation(self, organisation: str, *, collection: str) -> int:
        return self._delete(collection, organisation=organisation)

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
        connection: Connection[Any] | None = None,
    ) -> list[Hit]:
        found = self._collection(collection, connection)
        if vector is None and text is None:
            raise InvalidInput("a search needs a vector, a text, or both", param="query")
        if not 1 <= k <= MAX_K:
            raise InvalidInput(f"k is {k}; it must be in 1..{MAX_K}", param="max_num_results")
        if vector is not None:
            vector = _asked(vector, found)
        if text is not None and not is_text(text):
            raise InvalidInput(
                "the query's text holds a NUL character or half a surrogate pair", param="query"
            )
        values: dict[str, Any] = {
            "organisation": organisation,
            "store": store,
            "words": None if text is None else words(text).text,
        }
        where = sql.SQL("true") if filter is None else condition(parse_filter(filter), values)
        depth = k if text is None else max(FUSION_DEPTH, k)
        rankings: list[list[Hit]] = []
        with translated(), self._snapshot(connection) as joined:
            if vector is not None:
                rankings.append(
                    self._by_vector(joined, found, where, {**values, "vector": vector}, depth, mode)
                )
            if text is not None:
                statements = self._statements(collection, connection)
                for statement in (statements.by_words(where), statements.by_phrase(where)):
                    rankings.append(_hits(joined, statement, {**values, "k": depth}))
        return rankings[0][:k] if len(rankings) == 1 else fuse(rankings, k=k)

    def count(self, organisation: str, store: str, *, collection: str) -> int:
        statement = self._statements(collection).count()
        with translated(), self._pool.connection() as connection:
            row = connection.execute(statement, {"organisation": organisation, "store": store}).fetchone()
        return int(row[0]) if row else 0

    def scan(self, organisation: str, store: str, *, collection: str) -> Iterator[Row]:
        statement = self._statements(collection).scan()
        with translated(), self._pool.connection() as connection, _scanning(connection) as cursor:
            for row in cursor.execute(statement, {"organisation": organisation, "store": store}, binary=True):
                yield Row(**{**row, "vector": np.asarray(row["vector"].to_numpy(), dtype=np.float32)})

    def bulk_load(self, organisation: str, store: str, rows: Iterable[Row], *, collection: str) -> Written:
        """See ``VectorIndex``. An index that other stores search by stays, unless the load outgrows all that was there.

        Broken off, a load leaves what it wrote, and maybe no index, until ``optimise`` or the next load.
        """
        statements = self._statements(collection)
        with translated(), self._pool.connection() as connection:
            there = upkeep.size(connection, statements)
        written = unchanged = 0
        failed: dict[str, str] = {}
        dropped = False
        for part in batches(rows, ROWS_PER_TRANSACTION):
            result = self.upsert(organisation, store, part, collection=collection)
            written, unchanged = written + result.written, unchanged + result.unchanged
            failed |= result.failed
            if written > there and not dropped:
                dropped = self._drop_index(statements)
        self.optimise(collection)
        return Written(written=written, unchanged=unchanged, failed=failed)

    def optimise(self, collection: str) -> None:
        """See ``VectorIndex``. Returns at once while somebody else does it; vectors of over 4,000 numbers get no index."""
        renew_words(self._pool, limit_s=RENEWAL_S, collection=collection)
        statements = self._statements(collection)
        with upkeep.alone(self._pool, statements) as connection:
            if connection is not None:
                upkeep.build(
                    connection,
                    statements,
                    metric=self._collection(collection).metric,
                    index_from=self._index_from,
                )

    def wait_visible(
        self, organisation: str, store: str, ids: Sequence[str], *, collection: str, timeout_s: float = 60.0
    ) -> None:
        """At once: what is committed is visible."""

    def _by_vector(
        self,
        connection: Connection[Any],
        found: _Collection,
        where: sql.Composable,
        values: dict[str, Any],
        k: int,
        mode: Mode,
    ) -> list[Hit]:
        statements = Statements(found.name, found.dim)
        candidates = CANDIDATES_PER_HIT * k
        if (
            mode == "ann"
            and connection.execute(
                statements.prepare_ann(), {"breadth": str(min(1_000, max(40, candidates)))}
            ).fetchone()
            and _estimate(connection, statements.estimate(where), values) > self._exact_up_to
        ):
            hits = _hits(
                connection,
                statements.by_vector_ann(where, found.metric),
                {**values, "k": k, "candidates": candidates},
            )
            # The index gives up after so many rows that the filter refuses; then only looking at all of them is right.
            if len(hits) == k:
                return hits
        return _hits(connection, statements.by_vector(where, found.metric), {**values, "k": k})

    def _collection(self, name: str, connection: Connection[Any] | None = None) -> _Collection:
        """Asked on the caller's connection, where he has one: to wait for a second while holding the first can be for ever."""
        if name not in self._collections:
            with translated(), self._transaction(connection) as joined:
                found = _find(joined, name)
            if found is None:
                raise NotFound(f"no collection {name!r}: ensure() makes it")
            self._collections[name] = found
        return self._collections[name]

    def _statements(self, collection: str, connection: Connection[Any] | None = None) -> Statements:
        found = self._collection(collection, connection)
        return Statements(found.name, found.dim)

    def _transaction(self, connection: Connection[Any] | None) -> AbstractContextManager[Connection[Any]]:
        return self._pool.connection() if connection is None else nullcontext(connection)

    def _snapshot(self, connection: Connection[Any] | None) -> AbstractContextManager[Connection[Any]]:
        """The rankings of one search must come from one state: else a document is found half old and half new."""
        return snapshot(self._pool) if connection is None else nullcontext(connection)

    def _delete(
        self,
        collection: str,
        connection: Connection[Any] | None = None,
        limit: int | None = None,
        **owner: str,
    ) -> int:
        statements = self._statements(collection, connection)
        statement = statements.delete(list(owner)) if limit is None else statements.delete_some(list(owner))
        with translated(), self._transaction(connection) as joined:
            return joined.execute(statement, {**owner, "limit": limit}).rowcount

    def _drop_index(self, statements: Statements) -> bool:
        """Whether it could be done now."""
        with upkeep.alone(self._pool, statements) as connection:
            if connection is not None:
                connection.execute(statements.drop_index())
            return connection is not None


def _find(connection: Connection[Any], name: str) -> _Collection | None:
    row = connection.execute(
        "SELECT name, dim, metric FROM vector_collections WHERE name = %s", [name]
    ).fetchone()
    return None if row is None else _Collection(name=row[0], dim=row[1], metric=row[2])


def _asked(vector: NDArray[np.float32], found: _Collection) -> NDArray[np.float32]:
    if vector.shape != (found.dim,):
        raise InvalidInput(
            f"the query has a vector of shape {vector.shape}, not ({found.dim},)", param="query"
        )
    (fault,) = vector_fault(vector[None], found.metric)
    if fault:
        raise InvalidInput(f"the query {fault}", param="query")
    return vector.astype(np.float32, copy=False)


def _scanning(connection: Connection[Any]) -> ServerCursor[dict[str, Any]]:
    cursor = connection.cursor(name="scan", row_factory=dict_row)
    cursor.itersize = SCAN_BATCH
    return cursor


def _merge(
    connection: Connection[Any], found: _Collection, owner: Mapping[str, str], rows: Sequence[Accepted]
) -> int:
    """Write the rows, given in order of their ids; how many differed from what was stored."""
    statements = Statements(found.name, found.dim)
    kept = [id for id, *_, vector in rows if vector is None]
    if kept:
        missing = set(kept).difference(
            id for (id,) in connection.execute(statements.lock_kept(), {**owner, "kept": kept})
        )
        if missing:
            raise Permanent(
                f"{len(missing)} rows without vector are not stored, {min(missing)!r} for one",
                row_ids=sorted(missing),
            )
    connection.execute(statements.open_incoming())
    with connection.cursor().copy(statements.copy_incoming()) as copy:
        copy.set_types(["text", "text", "text", "jsonb", "vector", "text", "text"])
        for row in rows:
            spelt = words(row[2])
            copy.write_row((*row, spelt.text, spelt.letters))
    return connection.execute(statements.merge(), owner).rowcount


def _estimate(connection: Connection[Any], explain: sql.Composed, values: dict[str, Any]) -> int:
    row = connection.execute(explain, values).fetchone()
    assert row is not None
    return int(row[0][0]["Plan"]["Plan Rows"])


def _hits(connection: Connection[Any], statement: sql.Composed, values: dict[str, Any]) -> list[Hit]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [Hit(**row) for row in cursor.execute(statement, values)]
