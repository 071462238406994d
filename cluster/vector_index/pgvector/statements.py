"""The statements of the pgvector adapter: they read the vector column of a chunk table and manage its
approximate index.

Every statement that reads rows names the organisation. Values are always parameters.
"""

from psycopg import sql

from cluster.vector_index.collections import Collection, Metric

#: metric -> (operator, operator class of the half-precision index, score from the operator's distance)
OPERATORS: dict[Metric, tuple[str, str, str]] = {
    "cosine": ("<=>", "halfvec_cosine_ops", "1 - ({})"),
    "dot": ("<#>", "halfvec_ip_ops", "-({})"),
    "euclidean": ("<->", "halfvec_l2_ops", "-({})"),
}
#: pgvector's limit for an HNSW index on half precision.
LONGEST_INDEXED_DIM = 4_000

OWNED = sql.SQL("organisation = %(organisation)s AND vector_store = %(store)s")


class Statements:
    """The statements of one collection."""

    def __init__(self, collection: Collection) -> None:
        self.table_name = collection.table
        self.index_name = f"{collection.table}_hnsw"
        self.dim = collection.dim
        self._metric = collection.metric

    def by_vector(self, where: sql.Composable) -> sql.Composed:
        """The nearest rows, every row of the store compared."""
        return self._format(
            """
            SELECT id, {score}::float8 AS score
            FROM {table} WHERE {owned} AND {where}
            ORDER BY {distance}, id LIMIT %(k)s
            """,
            where=where,
        )

    def by_vector_ann(self, where: sql.Composable) -> sql.Composed:
        """Candidates by the approximate index, ranked by the float32 distance."""
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
        """Set up this transaction for a search by the approximate index. No row: there is no valid index.

        The order is relaxed, because candidates are ranked again; in strict order, the index drops rows that
        it finds late. Postgres plans each search anew: one plan for all sizes would not use the index.
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
        """The number of rows that the planner expects the condition to select; nothing is counted."""
        return self._format(
            "EXPLAIN (FORMAT JSON) SELECT FROM {table} WHERE {owned} AND {where}", where=where
        )

    def has_index(self) -> sql.Composed:
        """A row where the approximate index is complete."""
        return self._format(
            "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass({name}) AND indisvalid",
            name=sql.Literal(self.index_name),
        )

    def size(self) -> sql.Composed:
        """Rows of the whole collection when it was last analysed; -1 before."""
        return self._format(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass({name})",
            name=sql.Literal(self.table_name),
        )

    def create_index(self) -> sql.Composed:
        """The approximate index, built while searches and writes go on."""
        return self._format(
            """
            CREATE INDEX CONCURRENTLY {index} ON {table}
            USING hnsw ((embedding::halfvec({dim})) {operator_class})
            """,
            operator_class=sql.SQL(OPERATORS[self._metric][1]),
        )

    def drop_index(self) -> sql.Composed:
        """Drop the approximate index if it exists, while searches and writes go on."""
        return self._format("DROP INDEX CONCURRENTLY IF EXISTS {index}")

    def analyse(self) -> sql.Composed:
        """Refresh the statistics by which the planner chooses between the indexes."""
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
