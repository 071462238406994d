"""Build the SQL statements of the pgvector adapter.

The statements read the vector column of a chunk table and manage the approximate index of the table.

Every statement that reads rows names the organisation. Values are always parameters.
"""

from psycopg import sql

from cluster.vector_index.collections import Collection, Metric

#: For each metric: the operator, the operator class of the half-precision index, and the score, computed from
#: the operator's distance.
OPERATORS: dict[Metric, tuple[str, str, str]] = {
    "cosine": ("<=>", "halfvec_cosine_ops", "1 - ({})"),
    "dot": ("<#>", "halfvec_ip_ops", "-({})"),
    "euclidean": ("<->", "halfvec_l2_ops", "-({})"),
}
#: pgvector's limit for an HNSW index on half precision.
LONGEST_INDEXED_DIM = 4_000

OWNED = sql.SQL("organisation = %(organisation)s AND vector_store = %(store)s")


class Statements:
    """Builds the statements for one collection. The docstring of a method says what its statement does."""

    def __init__(self, collection: Collection) -> None:
        self.table_name = collection.table
        self.index_name = f"{collection.table}_hnsw"
        self.dim = collection.dim
        self._metric = collection.metric

    def by_vector(self, where: sql.Composable) -> sql.Composed:
        """Select the nearest rows by comparing every row of the store that passes the filter."""
        return self._format(
            """
            SELECT id, {score}::float8 AS score
            FROM {table} WHERE {owned} AND {where}
            ORDER BY {distance}, id LIMIT %(k)s
            """,
            where=where,
        )

    def by_vector_ann(self, where: sql.Composable) -> sql.Composed:
        """Select candidates with the approximate index, and rank the candidates by the float32 distance."""
        return self._format(
            """
            WITH near AS MATERIALIZED (
                SELECT id, embedding
                FROM {table} WHERE {owned} AND {where}
                ORDER BY {half_distance} LIMIT %(candidates)s
            )
            SELECT id, {score}::float8 AS score
            FROM near ORDER BY {distance}, id LIMIT %(k)s
            """,
            where=where,
        )

    def prepare_ann(self) -> sql.Composed:
        """Prepare this transaction for a search with the approximate index. Select no row if there is no
        valid index.

        The order is relaxed because candidates are ranked again. In strict order, the index would drop rows
        that it finds later than rows with a larger distance. Postgres plans every search separately because a
        general plan would not use the index.
        """
        return self._format(
            """
            SELECT set_config('hnsw.ef_search', %(breadth)s, true),
                set_config('hnsw.iterative_scan', 'relaxed_order', true),
                set_config('plan_cache_mode', 'force_custom_plan', true)
            FROM pg_index WHERE indexrelid = to_regclass({name}) AND indisvalid
            """,
            name=sql.Literal(self.index_name),
        )

    def estimate(self, where: sql.Composable) -> sql.Composed:
        """Ask the planner how many rows it expects the condition to select. No rows are counted."""
        return self._format(
            "EXPLAIN (FORMAT JSON) SELECT FROM {table} WHERE {owned} AND {where}", where=where
        )

    def has_index(self) -> sql.Composed:
        """Select one row if the approximate index is complete."""
        return self._format(
            "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass({name}) AND indisvalid",
            name=sql.Literal(self.index_name),
        )

    def size(self) -> sql.Composed:
        """Select the number of rows of the collection at its last analysis; -1 before the first analysis."""
        return self._format(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass({name})",
            name=sql.Literal(self.table_name),
        )

    def create_index(self) -> sql.Composed:
        """Build the approximate index while searches and writes continue."""
        return self._format(
            """
            CREATE INDEX CONCURRENTLY {index} ON {table}
            USING hnsw ((embedding::halfvec({dim})) {operator_class})
            """,
            operator_class=sql.SQL(OPERATORS[self._metric][1]),
        )

    def drop_index(self) -> sql.Composed:
        """Drop the approximate index if it exists, while searches and writes continue."""
        return self._format("DROP INDEX CONCURRENTLY IF EXISTS {index}")

    def analyse(self) -> sql.Composed:
        """Refresh the statistics that the planner uses to choose an index."""
        return self._format("ANALYZE {table}")

    def _format(self, text: str, **parts: sql.Composable) -> sql.Composed:
        operator, _, score = OPERATORS[self._metric]
        dim = sql.Literal(self.dim)
        distance = sql.SQL(f"embedding {operator} %(vector)s::vector")
        half = f"embedding::halfvec({{dim}}) {operator} %(vector)s::vector::halfvec({{dim}})"
        known = {
            "table": sql.Identifier(self.table_name),
            "index": sql.Identifier(self.index_name),
            "dim": dim,
            "owned": OWNED,
            "distance": distance,
            "half_distance": sql.SQL(half).format(dim=dim),
            "score": sql.SQL("(" + score + ")").format(distance),
        }
        return sql.SQL(text).format(**known, **parts)
