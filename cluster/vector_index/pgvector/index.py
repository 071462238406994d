"""The vector index on pgvector: it searches the vector column of the chunk tables in our own Postgres.

Searches in mode ``exact`` compare float32 vectors. These searches cannot use an approximate index, because
the approximate index stores half precision. If there is an approximate index, mode ``ann`` takes candidates
from this index and ranks the candidates by float32.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from cluster.database import as_owner, snapshot, translated
from cluster.database.session_lock import alone
from cluster.settings import Settings
from cluster.settings.indexes import PGVECTOR
from cluster.vector_index.collections import Collection
from cluster.vector_index.contract import Capabilities, Mode, ScoredId
from cluster.vector_index.filter_sql import condition
from cluster.vector_index.filters import Filter
from cluster.vector_index.pgvector import upkeep
from cluster.vector_index.pgvector.statements import Statements

#: For fewer rows, an exact scan is as fast as the approximate index.
ROWS_WORTH_AN_INDEX = 20_000
#: If at most this many rows of a store pass the filter, comparing all these rows is faster than the
#: approximate index: for 2 % of 50,000 rows, 2 ms instead of 26 ms.
ROWS_SOON_COMPARED = 5_000
#: Number of candidates from the approximate index for each requested hit. The candidates are ranked exactly.
CANDIDATES_PER_HIT = 4


class PgvectorIndex:
    """Implements ``TransactionalIndex`` in our Postgres. Safe to call from several threads.

    Args:
        pool: connections to our Postgres, from ``cluster.database.open_pool``.
        index_from: minimum number of rows for which a collection gets an approximate index.
        exact_up_to: if the planner expects at most this many rows of the store to pass the filter, the search
            compares all these rows, in either mode.
    """

    capabilities = Capabilities(transactional=True)

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
        with translated(), snapshot(self._pool) as connection:
            return self.search_within(
                connection,
                organisation,
                store,
                collection=collection,
                vector=vector,
                k=k,
                filter=filter,
                mode=mode,
            )

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
        statements = Statements(collection)
        values: dict[str, Any] = {"organisation": organisation, "store": store}
        where = sql.SQL("true") if filter is None else condition(filter, values)
        values |= {"vector": vector, "k": k, "candidates": CANDIDATES_PER_HIT * k}
        if prepared is None:
            prepared = self.prepare_within(connection, collection=collection, k=k, mode=mode)
        if prepared and _estimate(connection, statements.estimate(where), values) > self._exact_up_to:
            found = _ranking(connection, statements.by_vector_ann(where), values)
            # The approximate index stops after it has skipped many rows that do not pass the filter, so it
            # may find fewer than k rows. Then compare all rows of the store.
            if len(found) == k:
                return found
        return _ranking(connection, statements.by_vector(where), values)

    def prepare_within(
        self, connection: Connection[Any], *, collection: Collection, k: int, mode: Mode
    ) -> bool:
        if mode == "exact":
            return False
        breadth = {"breadth": str(min(1_000, max(40, CANDIDATES_PER_HIT * k)))}
        return connection.execute(Statements(collection).prepare_ann(), breadth).fetchone() is not None

    def optimise(self, collection: Collection) -> None:
        """Build the approximate index; see ``VectorIndex``.

        Do nothing if another session is building or dropping the index. Vectors with more than 4,000
        dimensions get no index.
        """
        statements = Statements(collection)
        with as_owner(), alone(self._pool, statements.index_name) as connection:
            if connection is not None:
                upkeep.build(connection, statements, index_from=self._index_from)

    def analysed_rows(self, collection: Collection) -> int:
        with translated(), self._pool.connection() as connection:
            return upkeep.size(connection, Statements(collection))

    def lacks_approximate(self, collection: Collection) -> bool:
        with translated(), self._pool.connection() as connection:
            return upkeep.is_missing(connection, Statements(collection), index_from=self._index_from)

    def drop_approximate(self, collection: Collection) -> bool:
        statements = Statements(collection)
        with as_owner(), alone(self._pool, statements.index_name) as connection:
            if connection is not None:
                connection.execute(statements.drop_index())
            return connection is not None


def open_pgvector(settings: Settings, pool: ConnectionPool, name: str = PGVECTOR) -> PgvectorIndex:
    """Open the adapter. ``settings`` and ``name`` have no effect."""
    del settings, name
    return PgvectorIndex(pool)


def _estimate(connection: Connection[Any], explain: sql.Composed, values: Mapping[str, Any]) -> int:
    row = connection.execute(explain, values).fetchone()
    assert row is not None
    return int(row[0][0]["Plan"]["Plan Rows"])


def _ranking(
    connection: Connection[Any], statement: sql.Composed, values: Mapping[str, Any]
) -> list[ScoredId]:
    with connection.cursor(row_factory=class_row(ScoredId)) as cursor:
        return cursor.execute(statement, values).fetchall()
