"""Build the SQL statements that search chunks by their words, and that renew the words of chunks."""

from collections.abc import Sequence

from psycopg import sql

from cluster.documents.chunks.chunk_statements import ChunkStatements
from cluster.vector_index.text_configurations import DEFAULT

#: A text search query that matches any of the words. ``words.words`` normalises the words, so the words
#: contain no operators of Postgres's query language.
ANY_OF_ITS_WORDS = """
    (SELECT coalesce(string_agg('''' || lexeme || '''', ' | '), '')::tsquery
     FROM unnest(to_tsvector({configuration}, %(words)s)))
"""
#: A text search query that matches the words in the same sequence.
ITS_PHRASE = "phraseto_tsquery({configuration}, %(words)s)"
#: Selects the text search configurations of a store.
CONFIGURATIONS = """
    SELECT configuration FROM vector_store_text_configurations
    WHERE organisation = %(organisation)s AND vector_store = %(store)s
"""


class WordStatements(ChunkStatements):
    """Builds the statements on words, for one collection's chunk table."""

    def by_words(self, where: sql.Composable, configurations: Sequence[str] = (DEFAULT,)) -> sql.Composed:
        """Return a statement that ranks the rows that have any of the query's words. More matching words
        raise the rank of a row, and a longer text lowers the rank.

        Args:
            where: condition on the rows.
            configurations: the text search configurations of the store.
        """
        # ``ts_rank`` is used because, for 100 sentences of real manuals, it ranked the right page first for
        # 96 sentences, and ``ts_rank_cd`` for 74.
        return self._by_text(ANY_OF_ITS_WORDS, where, configurations)

    def by_phrase(self, where: sql.Composable, configurations: Sequence[str] = (DEFAULT,)) -> sql.Composed:
        """Return a statement that ranks the rows that have the query's words in the same sequence, as in a
        quotation; see ``by_words``.
        """
        return self._by_text(ITS_PHRASE, where, configurations)

    def _by_text(self, query: str, where: sql.Composable, configurations: Sequence[str]) -> sql.Composed:
        queries = [
            sql.SQL(query).format(configuration=sql.Literal(configuration))
            for configuration in configurations
        ]
        if len(queries) > 1:
            return self._by_text_in_several(queries, where, configurations)
        return self._format(
            """
            SELECT id, ts_rank(words, query, 1)::float8 AS score
            FROM {table}, (SELECT {query} AS query) q
            WHERE {owned} AND {where} AND words @@ query
            ORDER BY score DESC, id LIMIT %(k)s
            """,
            query=queries[0],
            where=where,
        )

    def _by_text_in_several(
        self, queries: Sequence[sql.Composable], where: sql.Composable, configurations: Sequence[str]
    ) -> sql.Composed:
        """Return a statement that finds the rows that match the query of any configuration, and ranks the
        found rows that match the query of their own configuration.

        One scan of the index with all queries is faster than one scan for each query. Because of
        ``OFFSET 0``, Postgres makes the queries only once.
        """
        names = [sql.Identifier(f"query_{configuration}") for configuration in configurations]
        return self._format(
            """
            SELECT id, ts_rank(words, {own}, 1)::float8 AS score
            FROM {table}, (SELECT *, {any} AS query FROM (SELECT {queries} OFFSET 0) AS each OFFSET 0) q
            WHERE {owned} AND {where} AND words @@ query AND words @@ {own}
            ORDER BY score DESC, id LIMIT %(k)s
            """,
            own=sql.SQL("CASE text_configuration {} END").format(
                sql.SQL(" ").join(
                    sql.SQL("WHEN {} THEN {}").format(sql.Literal(configuration), name)
                    for configuration, name in zip(configurations, names, strict=True)
                )
            ),
            any=sql.SQL(" || ").join(names),
            queries=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(query, name) for query, name in zip(queries, names, strict=True)
            ),
            where=where,
        )

    def old_words(self) -> sql.Composed:
        """Return a statement that selects and locks rows after the given key that have a text, and whose
        words have an older version. The statement skips rows that another transaction has locked.
        """
        return self._format(
            """
            SELECT organisation, vector_store, id, text, attributes FROM {table}
            WHERE (organisation, vector_store, id) > (%(organisation)s, %(store)s, %(id)s)
                AND words_version < {version} AND text <> ''
            ORDER BY organisation, vector_store, id LIMIT %(limit)s
            FOR NO KEY UPDATE SKIP LOCKED
            """
        )

    def renew_words(self) -> sql.Composed:
        """Return a statement that writes the lexemes of rows that the transaction has locked, and that
        records for each store the text search configurations of these rows.
        """
        return self._format(
            """
            WITH i AS (
                SELECT * FROM unnest(
                        %(organisations)s::text[], %(stores)s::text[], %(ids)s::text[],
                        %(words)s::text[], %(letters)s::text[], %(configurations)s::text[])
                    AS given (organisation, store, id, words, letters, text_configuration)),
            configurations AS (
                INSERT INTO vector_store_text_configurations (organisation, vector_store, configuration)
                SELECT DISTINCT organisation, store, text_configuration FROM i
                ORDER BY organisation, store, text_configuration
                ON CONFLICT DO NOTHING)
            UPDATE {table} AS t
            SET words = {lexemes}, words_version = {version}, text_configuration = i.text_configuration
            FROM i
            WHERE t.organisation = i.organisation AND t.vector_store = i.store AND t.id = i.id
            """
        )

    def old_words_left(self) -> sql.Composed:
        """Return a statement that selects one row if any row has words of an older version."""
        return self._format("SELECT 1 FROM {table} WHERE words_version < {version} AND text <> '' LIMIT 1")
