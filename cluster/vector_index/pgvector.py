"""The vector index in our own Postgres, on pgvector: a table for each collection.

Searches in mode ``exact`` compare float32 vectors and can use no approximate index, since that stands on half
precision; mode ``ann`` takes its candidates from it, where it has been built, and ranks them by float32.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg import Connection, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.errors import Conflict, InvalidInput, NotFound, Permanent
from cluster.vector_index.contract import COLLECTION_NAME, Hit, Metric, Mode, Row, Written
from cluster.vector_index.filter_sql import condition
from cluster.vector_index.filters import parse_filter
from cluster.vector_index.fusion import fuse
from cluster.vector_index.pgvector_sql import OPERATORS, Statements

log = structlog.get_logger(__name__)

#: Rows written in one transaction: larger ones gain nothing and hold their locks longer.
ROWS_PER_TRANSACTION = 1_000
#: Below this an exact scan is as fast as the approximate index, and exact.
ROWS_WORTH_AN_INDEX = 20_000
#: Candidates taken from the approximate index for each hit asked for, then ranked exactly.
CANDIDATES_PER_HIT = 4
#: Each ranking that is fused is at least this deep.
FUSION_DEPTH = 50
MAX_K = 1_000
SCAN_BATCH = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Collection:
    name: str
    dim: int
    metric: Metric


class PgvectorIndex:
    """``VectorIndex`` on a pool of connections to our Postgres. Safe to call from several threads."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._collections: dict[str, _Collection] = {}

    def ensure(self, collection: str, *, dim: int, metric: Metric = "cosine") -> None:
        if not COLLECTION_NAME.fullmatch(collection):
            raise InvalidInput(f"collection {collection!r} must match {COLLECTION_NAME.pattern}")
        if not 1 <= dim <= 16_000 or metric not in OPERATORS:
            raise InvalidInput(f"collection {collection!r}: dim must be in 1..16000 and metric one of {', '.join(OPERATORS)}")
        made = _Collection(name=collection, dim=dim, metric=metric)
        with translated(), self._pool.connection() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('collection/' || %s, 0))", [collection])
            there = _find(connection, collection)
            if there is None:
                connection.execute("INSERT INTO vector_collections (name, dim, metric) VALUES (%s, %s, %s)", [collection, dim, metric])
                connection.execute(Statements(collection, dim).create_table())
        if there is not None and there != made:
            raise Conflict(f"collection {collection!r} has dim {there.dim} and metric {there.metric}, not {dim} and {metric}")

    def upsert(self, organisation: str, store: str, rows: Sequence[Row], *, collection: str) -> Written:
        found = self._collection(collection)
        distinct = sorted({row.id: row for row in rows}.values(), key=lambda row: row.id)
        _check(distinct, found, vectors_needed=True)
        written = 0
        for part in _batches(distinct, ROWS_PER_TRANSACTION):
            with translated(), self._pool.connection() as connection:
                written += _merge(connection, found, organisation, store, part)
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
        found = self._collection(collection)
        distinct = sorted({row.id: row for row in rows}.values(), key=lambda row: row.id)
        _check(distinct, found, vectors_needed=False)
        strangers = [row.id for row in distinct if row.document != document]
        if strangers:
            raise Permanent(f"{len(strangers)} rows are not of document {document}", row_ids=strangers)
        values = {"organisation": organisation, "store": store, "document": document}
        statements = Statements(found.name, found.dim)
        with translated(), self._transaction(connection) as joined:
            written = _merge(joined, found, organisation, store, distinct)
            deleted = joined.execute(statements.delete_others(), values).rowcount
        return Written(written=written, unchanged=len(distinct) - written, deleted=deleted)

    def stored_ids(self, organisation: str, store: str, document: str, *, collection: str) -> set[str]:
        statement = Statements(self._collection(collection).name).ids()
        with translated(), self._pool.connection() as connection:
            return {id for (id,) in connection.execute(statement, {"organisation": organisation, "store": store, "document": document})}

    def delete_document(self, organisation: str, store: str, document: str, *, collection: str) -> int:
        return self._delete(collection, organisation=organisation, vector_store=store, document=document)

    def delete_store(self, organisation: str, store: str, *, collection: str) -> int:
        return self._delete(collection, organisation=organisation, vector_store=store)

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
    ) -> list[Hit]:
        found = self._collection(collection)
        if vector is None and text is None:
            raise InvalidInput("a search needs a vector, a text, or both", param="query")
        if not 1 <= k <= MAX_K:
            raise InvalidInput(f"k is {k}; it must be in 1..{MAX_K}", param="max_num_results")
        if vector is not None and (vector.shape != (found.dim,) or not np.isfinite(vector).all()):
            raise InvalidInput(f"the query's vector must be {found.dim} finite numbers, not shape {vector.shape}", param="query")
        values: dict[str, Any] = {"organisation": organisation, "store": store, "text": (text or "").replace("\0", " ")}
        where = sql.SQL("true") if filter is None else condition(parse_filter(filter), values)
        depth = k if text is None else max(FUSION_DEPTH, k)
        rankings: list[list[Hit]] = []
        with translated(), self._pool.connection() as connection:
            if vector is not None:
                rankings.append(_by_vector(connection, found, where, {**values, "vector": vector}, depth, mode))
            if text is not None:
                statements = Statements(found.name)
                for statement in (statements.by_words(where), statements.by_phrase(where)):
                    rankings.append(_hits(connection, statement, {**values, "k": depth}))
        return rankings[0][:k] if len(rankings) == 1 else fuse(rankings, k=k)

    def count(self, organisation: str, store: str, *, collection: str) -> int:
        statement = Statements(self._collection(collection).name).count()
        with translated(), self._pool.connection() as connection:
            row = connection.execute(statement, {"organisation": organisation, "store": store}).fetchone()
        return int(row[0]) if row else 0

    def scan(self, organisation: str, store: str, *, collection: str) -> Iterator[Row]:
        statement = Statements(self._collection(collection).name).scan()
        with translated(), self._pool.connection() as connection, connection.cursor(name="scan", row_factory=dict_row) as cursor:
            cursor.itersize = SCAN_BATCH
            for row in cursor.execute(statement, {"organisation": organisation, "store": store}):
                yield Row(**{**row, "vector": as_array(row["vector"])})

    def bulk_load(self, organisation: str, store: str, rows: Iterable[Row], *, collection: str) -> Written:
        found = self._collection(collection)
        self._drop_index(found)
        written = unchanged = 0
        for part in _batches(rows, ROWS_PER_TRANSACTION):
            result = self.upsert(organisation, store, part, collection=collection)
            written, unchanged = written + result.written, unchanged + result.unchanged
        self.optimise(collection)
        return Written(written=written, unchanged=unchanged)

    def optimise(self, collection: str) -> None:
        found = self._collection(collection)
        statements = Statements(found.name, found.dim)
        with translated(), self._pool.connection() as connection:
            connection.autocommit = True  # an index is not built CONCURRENTLY inside a transaction
            try:
                connection.execute("SELECT pg_advisory_lock(hashtextextended('optimise/' || %s, 0))", [found.name])
                connection.execute(statements.analyse())
                if _rows(connection, found) >= ROWS_WORTH_AN_INDEX and not _indexed(connection, found):
                    connection.execute(statements.drop_index())  # one whose building broke off is there, but not valid
                    connection.execute(statements.create_index(found.metric))
                    log.info("ann_index_built", collection=found.name)
            finally:
                connection.execute("SELECT pg_advisory_unlock_all()")
                connection.autocommit = False

    def wait_visible(self, organisation: str, store: str, ids: Sequence[str], *, collection: str, timeout_s: float = 60.0) -> None:
        """At once: what is committed is visible."""

    def _collection(self, name: str) -> _Collection:
        if name not in self._collections:
            with translated(), self._pool.connection() as connection:
                found = _find(connection, name)
            if found is None:
                raise NotFound(f"no collection {name!r}: ensure() makes it")
            self._collections[name] = found
        return self._collections[name]

    def _transaction(self, connection: Connection[Any] | None) -> AbstractContextManager[Connection[Any]]:
        return self._pool.connection() if connection is None else nullcontext(connection)

    def _delete(self, collection: str, **owner: str) -> int:
        statement = Statements(self._collection(collection).name).delete(list(owner))
        with translated(), self._pool.connection() as connection:
            return connection.execute(statement, owner).rowcount

    def _drop_index(self, found: _Collection) -> None:
        with translated(), self._pool.connection() as connection:
            connection.execute(Statements(found.name).drop_index())


def as_array(value: Any) -> NDArray[np.float32]:
    """pgvector's value as (dim,) float32, whichever type the client library gives it."""
    return np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value, dtype=np.float32)


def _find(connection: Connection[Any], name: str) -> _Collection | None:
    row = connection.execute("SELECT name, dim, metric FROM vector_collections WHERE name = %s", [name]).fetchone()
    return None if row is None else _Collection(name=row[0], dim=row[1], metric=row[2])


def _check(rows: Sequence[Row], found: _Collection, *, vectors_needed: bool) -> None:
    """Refuse rows that the table would not take, or would take and never find."""
    bad: dict[str, str] = {}
    for row in rows:
        if row.vector is None:
            if vectors_needed:
                bad[row.id] = "has no vector"
        elif row.vector.shape != (found.dim,):
            bad[row.id] = f"has a vector of shape {row.vector.shape}, not ({found.dim},)"
        elif not np.isfinite(row.vector).all():
            bad[row.id] = "has a vector with NaN or infinity"
        elif found.metric == "cosine" and not row.vector.any():
            bad[row.id] = "has a vector of length zero, which has no direction"
        if "\0" in row.text:
            bad[row.id] = "has a NUL character in its text, which Postgres does not store"
    if bad:
        first, reason = next(iter(bad.items()))
        raise Permanent(f"{len(bad)} of {len(rows)} rows refused; row {first} {reason}", row_ids=list(bad))


def _merge(connection: Connection[Any], found: _Collection, organisation: str, store: str, rows: Sequence[Row]) -> int:
    """Write the rows, given in order of their ids; how many differed from what was stored."""
    statements = Statements(found.name, found.dim)
    connection.execute(statements.create_incoming())
    connection.execute(statements.empty_incoming())
    with connection.cursor().copy(statements.copy_incoming()) as copy:
        copy.set_types(["text", "text", "text", "jsonb", "vector"])
        for row in rows:
            vector = None if row.vector is None else np.ascontiguousarray(row.vector, dtype=np.float32)
            copy.write_row((row.id, row.document, row.text, Jsonb(dict(row.attributes)), vector))
    values = {"organisation": organisation, "store": store}
    missing = [id for (id,) in connection.execute(statements.missing(), values)]
    if missing:
        raise Permanent(f"{len(missing)} rows without vector are not stored, {missing[0]} for one", row_ids=missing)
    return connection.execute(statements.merge(), values).rowcount


def _by_vector(
    connection: Connection[Any], found: _Collection, where: sql.Composable, values: dict[str, Any], k: int, mode: Mode
) -> list[Hit]:
    statements = Statements(found.name, found.dim)
    if mode == "ann" and _indexed(connection, found):
        candidates = CANDIDATES_PER_HIT * k
        # Order may be relaxed, since the candidates are ranked anew; kept strict, the index drops what it finds late.
        connection.execute(
            "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true)",
            [str(min(1_000, max(40, candidates)))],
        )
        hits = _hits(connection, statements.by_vector_ann(where, found.metric), {**values, "k": k, "candidates": candidates})
        # The index gives up after so many rows that the filter refuses; then only looking at all of them is right.
        if len(hits) == k:
            return hits
    return _hits(connection, statements.by_vector(where, found.metric), {**values, "k": k})


def _hits(connection: Connection[Any], statement: sql.Composed, values: dict[str, Any]) -> list[Hit]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [Hit(**row) for row in cursor.execute(statement, values)]


def _indexed(connection: Connection[Any], found: _Collection) -> bool:
    row = connection.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [Statements(found.name).index_name]
    ).fetchone()
    return bool(row and row[0])


def _rows(connection: Connection[Any], found: _Collection) -> int:
    row = connection.execute("SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)", [Statements(found.name).table_name]).fetchone()
    return int(row[0]) if row else 0


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch
