"""The statements of the pgvector adapter; every one that touches rows names the organisation.

Collection names are checked before they come here, and quoted all the same; values are always parameters.
"""

from collections.abc import Sequence

from psycopg import sql

from cluster.vector_index.contract import Metric
from cluster.vector_index.words import WORDS_VERSION

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

#: Of words as ``words.words`` spells them, which hold no sign that the query language knows.
ANY_OF_ITS_WORDS = """
    (SELECT coalesce(string_agg('''' || lexeme || '''', ' | '), '')::tsquery FROM unnest(to_tsvector('english', %(words)s)))
"""
#: The same words in the table ``i``. Letters have no positions, so that no phrase is made of them.
LEXEMES = sql.SQL("to_tsvector('english', i.words) || array_to_tsvector(string_to_array(i.letters, ' '))")

OWNED = sql.SQL("organisation = %(organisation)s AND vector_store = %(store)s")


class Statements:
    """The statements of one collection."""

    def __init__(self, collection: str, dim: int) -> None:
        self.table_name = f"vectors_{collection}"
        self.index_name = f"vectors_{collection}_hnsw"
        self.table = sql.Identifier(self.table_name)
        self.index = sql.Identifier(self.index_name)
        self.incoming = sql.Identifier("pg_temp", f"incoming_{collection}")
        self.dim = dim

    def create_table(self) -> sql.Composed:
        """The table, its full-text and its document index; the approximate index comes later, if at all.

        Names are collated by code point, on every server: so ids are ordered as Python orders them, and no upgrade of
        the C library spoils an index. The statistics tell the planner how large a store is: it would multiply the
        shares of organisation and store, though the one follows from the other.
        """
        inline = (
            "ALTER TABLE {table} ALTER COLUMN embedding SET STORAGE PLAIN;"
            if self.dim <= LONGEST_INLINE_DIM
            else ""
        )
        return self._format(
            """
            CREATE TABLE {table} (
                organisation  text COLLATE "C" NOT NULL,
                vector_store  text COLLATE "C" NOT NULL,
                id            text COLLATE "C" NOT NULL,
                document      text COLLATE "C" NOT NULL,
                text          text NOT NULL,
                attributes    jsonb NOT NULL,
                embedding     vector({dim}) NOT NULL,
                words         tsvector,
                words_version smallint NOT NULL DEFAULT 0,
                PRIMARY KEY (organisation, vector_store, id)
            );
            """
            + inline
            + """
            CREATE INDEX ON {table} (organisation, vector_store, document);
            CREATE INDEX ON {table} USING gin (words);
            CREATE INDEX ON {table} USING gin (attributes jsonb_path_ops);
            CREATE STATISTICS {statistics} (dependencies, mcv) ON organisation, vector_store FROM {table};
            """,
            statistics=sql.Identifier(f"{self.table_name}_owners"),
        )

    def open_incoming(self) -> sql.Composed:
        """An empty table of the session for rows on their way in; made once a connection, emptied for each write."""
        return self._format(
            """
            CREATE TEMP TABLE IF NOT EXISTS {incoming_name} (
                id text COLLATE "C", document text, text text, attributes jsonb, embedding vector({dim}), words text, letters text
            ) ON COMMIT DELETE ROWS;
            DELETE FROM {incoming};
            """,
            incoming_name=sql.Identifier(f"incoming_{self.table_name.removeprefix('vectors_')}"),
        )

    def copy_incoming(self) -> sql.Composed:
        """Rows in, in binary."""
        return self._format(
            "COPY {incoming} (id, document, text, attributes, embedding, words, letters) FROM STDIN (FORMAT binary)"
        )

    def lock_document(self) -> sql.Composed:
        """Keep other writers of the document out until the transaction ends."""
        return self._format(
            "SELECT pg_advisory_xact_lock(hashtextextended({name} || %(organisation)s || '/' || %(store)s || '/' || %(document)s, 0))",
            name=sql.Literal(f"{self.table_name}/"),
        )

    def lock_kept(self) -> sql.Composed:
        """Rows whose vector is to stay; nobody deletes them or changes it before the transaction ends."""
        return self._format(
            "SELECT id FROM {table} WHERE {owned} AND id = ANY(%(kept)s) ORDER BY id FOR UPDATE"
        )

    def merge(self) -> sql.Composed:
        """New rows in, rows that differ changed, in order of their ids, so that writers do not deadlock.

        Equal rows are left out before the insert, which would first make their full-text vectors and lock them.
        """
        return self._format(
            """
            INSERT INTO {table} AS t (organisation, vector_store, id, document, text, attributes, embedding, words, words_version)
            SELECT %(organisation)s, %(store)s, i.id, i.document, i.text, i.attributes, coalesce(i.embedding, s.embedding),
                {lexemes}, {version}
            FROM {incoming} i
            LEFT JOIN {table} s ON s.organisation = %(organisation)s AND s.vector_store = %(store)s AND s.id = i.id
            WHERE (s.document, s.text, s.attributes, s.embedding)
                IS DISTINCT FROM (i.document, i.text, i.attributes, coalesce(i.embedding, s.embedding))
            ORDER BY i.id
            ON CONFLICT (organisation, vector_store, id) DO UPDATE SET
                document = excluded.document, text = excluded.text, attributes = excluded.attributes, embedding = excluded.embedding,
                words = excluded.words, words_version = excluded.words_version
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
        return self._format("DELETE FROM {table} WHERE {of}", of=_of(owner))

    def delete_some(self, owner: Sequence[str]) -> sql.Composed:
        """So many of them, locked in the order in which writers lock rows."""
        return self._format(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {of} ORDER BY id LIMIT %(limit)s FOR UPDATE))",
            of=_of(owner),
        )

    def document(self) -> sql.Composed:
        """A document's rows without their vectors."""
        return self._format(
            "SELECT id, document, text, attributes FROM {table} WHERE {owned} AND document = %(document)s ORDER BY id"
        )

    def ids(self) -> sql.Composed:
        """Ids of a document's rows."""
        return self._format("SELECT id FROM {table} WHERE {owned} AND document = %(document)s")

    def count(self) -> sql.Composed:
        """Rows of a store."""
        return self._format("SELECT count(*) FROM {table} WHERE {owned}")

    def scan(self) -> sql.Composed:
        """Every row of a store."""
        return self._format(
            "SELECT id, document, text, attributes, embedding AS vector FROM {table} WHERE {owned} ORDER BY id"
        )

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
        return self._by_text(ANY_OF_ITS_WORDS, where)

    def by_phrase(self, where: sql.Composable) -> sql.Composed:
        """Rows with the text's words one behind the other, as a quotation has them."""
        return self._by_text("phraseto_tsquery('english', %(words)s)", where)

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

    def old_words(self) -> sql.Composed:
        """Rows behind a key whose words are of an older version, locked; those that another transaction holds are passed over."""
        return self._format(
            """
            SELECT organisation, vector_store, id, text FROM {table}
            WHERE (organisation, vector_store, id) > (%(organisation)s, %(store)s, %(id)s) AND words_version < {version}
            ORDER BY organisation, vector_store, id LIMIT %(limit)s
            FOR NO KEY UPDATE SKIP LOCKED
            """
        )

    def renew_words(self) -> sql.Composed:
        """Write the lexemes of rows that the transaction has locked."""
        return self._format(
            """
            UPDATE {table} AS t SET words = {lexemes}, words_version = {version}
            FROM unnest(%(organisations)s::text[], %(stores)s::text[], %(ids)s::text[], %(words)s::text[], %(letters)s::text[])
                AS i (organisation, store, id, words, letters)
            WHERE t.organisation = i.organisation AND t.vector_store = i.store AND t.id = i.id
            """
        )

    def old_words_left(self) -> sql.Composed:
        """A row where the words of any are of an older version."""
        return self._format("SELECT 1 FROM {table} WHERE words_version < {version} LIMIT 1")

    def prepare_ann(self) -> sql.Composed:
        """Settings of this transaction for a search by the approximate index; no row where there is none to use.

        Order may be relaxed, since candidates are ranked anew: kept strict, the index drops what it finds late. A plan
        made once for stores of every size would pass over the index.
        """
        return self._format(
            """
            SELECT set_config('hnsw.ef_search', %(breadth)s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),
                set_config('plan_cache_mode', 'force_custom_plan', true)
            FROM pg_index WHERE indexrelid = to_regclass({name}) AND indisvalid
            """,
            name=sql.Literal(self.index_name),
        )

    def estimate(self, where: sql.Composable) -> sql.Composed:
        """How many rows the planner thinks the condition selects; nothing is counted."""
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

    def lock_upkeep(self) -> sql.Composed:
        """Whether the session has the collection's indexes to itself now; not waited for.

        A session that waits holds a snapshot, and CREATE INDEX CONCURRENTLY waits for all snapshots to go: a deadlock.
        """
        return self._format(
            "SELECT pg_try_advisory_lock(hashtextextended({name}, 0))", name=sql.Literal(self.index_name)
        )

    def unlock_upkeep(self) -> sql.Composed:
        """The next one, please."""
        return self._format(
            "SELECT pg_advisory_unlock(hashtextextended({name}, 0))", name=sql.Literal(self.index_name)
        )

    def create_index(self, metric: Metric) -> sql.Composed:
        """The approximate index, built while searches and writes go on."""
        return self._format(
            "CREATE INDEX CONCURRENTLY {index} ON {table} USING hnsw ((embedding::halfvec({dim})) {operator_class})",
            operator_class=sql.SQL(OPERATORS[metric][1]),
        )

    def drop_index(self) -> sql.Composed:
        """Away with it, if it is there, while searches and writes go on."""
        return self._format("DROP INDEX CONCURRENTLY IF EXISTS {index}")

    def analyse(self) -> sql.Composed:
        """Fresh statistics: the planner chooses between the indexes by them."""
        return self._format("ANALYZE {table}")

    def _metric(self, metric: Metric) -> dict[str, sql.Composable]:
        operator, _, score = OPERATORS[metric]
        distance = sql.SQL(f"embedding {operator} %(vector)s::vector")
        half = sql.SQL(f"embedding::halfvec({{dim}}) {operator} %(vector)s::vector::halfvec({{dim}})").format(
            dim=sql.Literal(self.dim)
        )
        return {
            "distance": distance,
            "half_distance": half,
            "score": sql.SQL("(" + score + ")").format(distance),
        }

    def _format(self, text: str, **parts: sql.Composable) -> sql.Composed:
        known = {
            "table": self.table,
            "index": self.index,
            "incoming": self.incoming,
            "dim": sql.Literal(self.dim),
            "owned": OWNED,
        }
        return sql.SQL(text).format(**known, lexemes=LEXEMES, version=sql.Literal(WORDS_VERSION), **parts)


def _of(owner: Sequence[str]) -> sql.Composed:
    """That a row is of the owner."""
    assert owner[0] == "organisation"
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in owner
    )
