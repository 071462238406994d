"""The statements of the pgvector adapter; every one that touches rows names the organisation.

Collection names are checked before they come here, and quoted all the same; values are always parameters.
"""

from collections.abc import Sequence

from psycopg import sql

from cluster.vector_index.contract import Metric

#: metric -> (operator, operator class of the half-precision index, score from the operator's distance)
OPERATORS: dict[Metric, tuple[str, str, str]] = {
    "cosine": ("<=>", "halfvec_cosine_ops", "1 - ({})"),
    "dot": ("<#>", "halfvec_ip_ops", "-({})"),
    "euclidean": ("<->", "halfvec_l2_ops", "-({})"),
}
#: Longer vectors do not fit a page beside the rest of a row.
LONGEST_INLINE_DIM = 1_500
#: pgvector's limit for an HNSW index on half precision.
LONGEST_INDEXED_DIM = 4_000

OWNED = sql.SQL("organisation = %(organisation)s AND vector_store = %(store)s")


class Statements:
    """The statements of one collection."""

    def __init__(self, collection: str, dim: int = 0) -> None:
        self.table_name = f"vectors_{collection}"
        self.index_name = f"vectors_{collection}_hnsw"
        self.table = sql.Identifier(self.table_name)
        self.index = sql.Identifier(self.index_name)
        self.incoming = sql.Identifier("pg_temp", f"incoming_{collection}")
        self.dim = dim

    def create_table(self) -> sql.Composed:
        """The table, its full-text and its document index; the approximate index comes later, if at all."""
        inline = "ALTER TABLE {table} ALTER COLUMN embedding SET STORAGE PLAIN;" if self.dim <= LONGEST_INLINE_DIM else ""
        return self._format(
            """
            CREATE TABLE {table} (
                organisation  text NOT NULL,
                vector_store  text NOT NULL,
                id            text NOT NULL,
                document      text NOT NULL,
                text          text NOT NULL,
                attributes    jsonb NOT NULL,
                embedding     vector({dim}) NOT NULL,
                words         tsvector GENERATED ALWAYS AS (to_tsvector('english', text)) STORED,
                PRIMARY KEY (organisation, vector_store, id)
            );
            """
            + inline
            + """
            CREATE INDEX ON {table} (organisation, vector_store, document);
            CREATE INDEX ON {table} USING gin (words);
            CREATE INDEX ON {table} USING gin (attributes jsonb_path_ops);
            """
        )

    def create_incoming(self) -> sql.Composed:
        """A table of the session for rows on their way in; made once a connection."""
        return self._format(
            """
            CREATE TEMP TABLE IF NOT EXISTS {incoming_name} (
                id text, document text, text text, attributes jsonb, embedding vector({dim})
            ) ON COMMIT DELETE ROWS
            """,
            incoming_name=sql.Identifier(f"incoming_{self.table_name.removeprefix('vectors_')}"),
        )

    def empty_incoming(self) -> sql.Composed:
        """Two writes of one transaction must not meet."""
        return self._format("DELETE FROM {incoming}")

    def copy_incoming(self) -> sql.Composed:
        """Rows in, in binary."""
        return self._format("COPY {incoming} (id, document, text, attributes, embedding) FROM STDIN (FORMAT binary)")

    def missing(self) -> sql.Composed:
        """Rows that should keep a vector which is not there."""
        return self._format(
            """
            SELECT i.id FROM {incoming} i
            WHERE i.embedding IS NULL AND NOT EXISTS (
                SELECT FROM {table} t WHERE t.organisation = %(organisation)s AND t.vector_store = %(store)s AND t.id = i.id)
            ORDER BY i.id
            """
        )

    def merge(self) -> sql.Composed:
        """New rows in, rows that differ changed, equal rows untouched; in order of their ids, so that writers do not deadlock."""
        return self._format(
            """
            INSERT INTO {table} AS t (organisation, vector_store, id, document, text, attributes, embedding)
            SELECT %(organisation)s, %(store)s, i.id, i.document, i.text, i.attributes, coalesce(i.embedding, s.embedding)
            FROM {incoming} i
            LEFT JOIN {table} s ON i.embedding IS NULL
                AND s.organisation = %(organisation)s AND s.vector_store = %(store)s AND s.id = i.id
            ORDER BY i.id
            ON CONFLICT (organisation, vector_store, id) DO UPDATE SET
                document = excluded.document, text = excluded.text, attributes = excluded.attributes, embedding = excluded.embedding
            WHERE (t.document, t.text, t.attributes, t.embedding)
                IS DISTINCT FROM (excluded.document, excluded.text, excluded.attributes, excluded.embedding)
            """
        )

    def delete_others(self) -> sql.Composed:
        """The document's rows that did not come in."""
        return self._format(
            """
            DELETE FROM {table} t
            WHERE {owned} AND document = %(document)s AND NOT EXISTS (SELECT FROM {incoming} i WHERE i.id = t.id)
            """
        )

    def delete(self, owner: Sequence[str]) -> sql.Composed:
        """All rows of an owner: the columns named, organisation first."""
        assert owner[0] == "organisation"
        of = sql.SQL(" AND ").join(sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in owner)
        return self._format("DELETE FROM {table} WHERE {of}", of=of)

    def ids(self) -> sql.Composed:
        """Ids of a document's rows."""
        return self._format("SELECT id FROM {table} WHERE {owned} AND document = %(document)s")

    def count(self) -> sql.Composed:
        """Rows of a store."""
        return self._format("SELECT count(*) FROM {table} WHERE {owned}")

    def scan(self) -> sql.Composed:
        """Every row of a store."""
        return self._format("SELECT id, document, text, attributes, embedding AS vector FROM {table} WHERE {owned} ORDER BY id")

    def by_vector(self, where: sql.Composable, metric: Metric) -> sql.Composed:
        """The nearest rows, every row of the store compared."""
        return self._format(
            """
            SELECT id, document, text, attributes, {score}::float8 AS score
            FROM {table} WHERE {owned} AND {where}
            ORDER BY {distance}, id LIMIT %(k)s
            """,
            where=where,
            **self._metric(metric),
        )

    def by_vector_ann(self, where: sql.Composable, metric: Metric) -> sql.Composed:
        """Candidates by the approximate index, ranked by the float32 distance."""
        return self._format(
            """
            WITH near AS MATERIALIZED (
                SELECT id, document, text, attributes, embedding
                FROM {table} WHERE {owned} AND {where}
                ORDER BY {half_distance} LIMIT %(candidates)s
            )
            SELECT id, document, text, attributes, {score}::float8 AS score
            FROM near ORDER BY {distance}, id LIMIT %(k)s
            """,
            where=where,
            **self._metric(metric),
        )

    def by_words(self, where: sql.Composable) -> sql.Composed:
        """Rows with any of the text's words, those with more of them first."""
        # ts_rank and not ts_rank_cd: of 100 sentences of real manuals it put the right page first for 96, the other for 74.
        return self._by_text("replace(plainto_tsquery('english', %(text)s)::text, '&', '|')::tsquery", where)

    def by_phrase(self, where: sql.Composable) -> sql.Composed:
        """Rows with the text's words one behind the other, as a quotation has them."""
        return self._by_text("phraseto_tsquery('english', %(text)s)", where)

    def _by_text(self, query: str, where: sql.Composable) -> sql.Composed:
        return self._format(
            """
            SELECT id, document, text, attributes, ts_rank(words, query, 1)::float8 AS score
            FROM {table}, (SELECT {query} AS query) q
            WHERE {owned} AND {where} AND words @@ query
            ORDER BY score DESC, id LIMIT %(k)s
            """,
            query=sql.SQL(query),
            where=where,
        )

    def create_index(self, metric: Metric) -> sql.Composed:
        """The approximate index, built while searches and writes go on."""
        return self._format(
            "CREATE INDEX CONCURRENTLY {index} ON {table} USING hnsw ((embedding::halfvec({dim})) {operator_class})",
            operator_class=sql.SQL(OPERATORS[metric][1]),
        )

    def drop_index(self) -> sql.Composed:
        """Away with it, if it is there."""
        return self._format("DROP INDEX IF EXISTS {index}")

    def analyse(self) -> sql.Composed:
        """Fresh statistics: the planner chooses between the indexes by them."""
        return self._format("ANALYZE {table}")

    def _metric(self, metric: Metric) -> dict[str, sql.Composable]:
        operator, _, score = OPERATORS[metric]
        distance = sql.SQL(f"embedding {operator} %(vector)s::vector")
        half = sql.SQL(f"embedding::halfvec({{dim}}) {operator} %(vector)s::vector::halfvec({{dim}})").format(dim=sql.Literal(self.dim))
        return {"distance": distance, "half_distance": half, "score": sql.SQL("(" + score + ")").format(distance)}

    def _format(self, text: str, **parts: sql.Composable) -> sql.Composed:
        known = {"table": self.table, "index": self.index, "incoming": self.incoming, "dim": sql.Literal(self.dim), "owned": OWNED}
        return sql.SQL(text).format(**known, **parts)
