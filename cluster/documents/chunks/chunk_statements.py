"""Build the SQL statements on chunk tables. A row has text, attributes and full-text words. If the store
keeps its vectors in pgvector, the row also has the vector. Each method returns a statement.

Each collection has one table. Statements that read or write rows name the organisation, except for the
renewal of words, which covers all organisations. Callers check the names of collections, and this module
quotes the names. Values are always parameters.
"""

from collections.abc import Sequence

from psycopg import sql

from cluster.vector_index.collections import table_name
from cluster.vector_index.words import WORDS_VERSION

#: Maximum dimension of a vector that fits, with the rest of its row, on one page of Postgres. Such vectors
#: are stored in the row itself.
LONGEST_INLINE_DIM = 1_500

#: The lexemes of the words in the table ``i``. Letters get no positions, so phrase queries do not match
#: letters.
LEXEMES = sql.SQL("""
    to_tsvector(i.text_configuration::regconfig, i.words)
        || array_to_tsvector(string_to_array(i.letters, ' '))
""")
OWNED = sql.SQL("organisation = %(organisation)s AND vector_store = %(store)s")


class ChunkStatements:
    """Builds the statements for one collection's chunk table."""

    def __init__(self, collection: str) -> None:
        self.table_name = table_name(collection)
        self.incoming_name = f"incoming_{collection}"

    def create_table(self, dim: int) -> sql.Composed:
        """Create the table with its full-text, attribute and document indexes, but no approximate index.

        Ids and names are collated by code point on every server. So their order is the same as in Python, and
        an upgrade of the C library cannot corrupt an index. The statistics tell the planner the size of a
        store. Without statistics, the planner would assume that organisation and store are independent,
        although a store belongs to one organisation. ``embedding`` is null if the vector is in an external
        index. Triggers count the changes of each store (``store_versions``).
        """
        inline = "ALTER TABLE {table} ALTER COLUMN embedding SET STORAGE PLAIN;"
        return self._format(
            """
            CREATE TABLE {table} (
                organisation  text COLLATE "C" NOT NULL,
                vector_store  text COLLATE "C" NOT NULL,
                id            text COLLATE "C" NOT NULL,
                document      text COLLATE "C" NOT NULL,
                text          text NOT NULL,
                attributes    jsonb NOT NULL,
                embedding     vector({dim}),
                words         tsvector,
                words_version smallint NOT NULL DEFAULT 0,
                text_configuration text COLLATE "C" NOT NULL DEFAULT 'english',
                PRIMARY KEY (organisation, vector_store, id)
            );
            """
            + (inline if dim <= LONGEST_INLINE_DIM else "")
            + """
            CREATE INDEX ON {table} (organisation, vector_store, document);
            CREATE INDEX ON {table} USING gin (words);
            CREATE INDEX ON {table} USING gin (attributes jsonb_path_ops);
            CREATE STATISTICS {statistics} (dependencies, mcv) ON organisation, vector_store FROM {table};
            SELECT count_changes_of({literal});
            """,
            dim=sql.Literal(dim),
            statistics=sql.Identifier(f"{self.table_name}_owners"),
            literal=sql.Literal(self.table_name),
        )

    def open_incoming(self) -> sql.Composed:
        """Create the session's temporary table for incoming rows if it does not exist, and empty the table.
        Run this before each write.
        """
        return self._format(
            """
            CREATE TEMP TABLE IF NOT EXISTS {incoming_name} (
                id text COLLATE "C", document text, text text, attributes jsonb,
                text_configuration text COLLATE "C", embedding vector, words text, letters text
            ) ON COMMIT DELETE ROWS;
            DELETE FROM {incoming};
            """,
            incoming_name=sql.Identifier(self.incoming_name),
        )

    def copy_incoming(self) -> sql.Composed:
        """Copy incoming rows into the temporary table in binary format."""
        return self._format(
            """
            COPY {incoming} (
                id, document, text, attributes, text_configuration, embedding, words, letters)
            FROM STDIN (FORMAT binary)
            """
        )

    def copy_new(self) -> sql.Composed:
        """Copy new rows without texts directly into the table, in binary format. No temporary table is
        used.
        """
        return self._format(
            """
            COPY {table} (
                organisation, vector_store, id, document, text, attributes, embedding, words_version)
            FROM STDIN (FORMAT binary)
            """
        )

    def lock_document(self) -> sql.Composed:
        """Make other writers of the document wait until the transaction ends."""
        return self._format(
            """
            SELECT pg_advisory_xact_lock(
                hashtextextended({name} || %(organisation)s || '/' || %(store)s || '/' || %(document)s, 0))
            """,
            name=sql.Literal(f"{self.table_name}/"),
        )

    def lock_kept(self) -> sql.Composed:
        """Lock rows that keep their vectors, so that no other session can delete or change these rows. Select
        the ids of the locked rows.
        """
        return self._format(
            "SELECT id FROM {table} WHERE {owned} AND id = ANY(%(kept)s) ORDER BY id FOR UPDATE"
        )

    def merge(self) -> sql.Composed:
        """Insert new rows, and change stored rows that differ from incoming rows. The order by id prevents
        deadlocks between writers.

        Incoming rows that are equal to stored rows are left out before the insert, because the insert would
        lock the stored rows and compute their full-text vectors. The statement also records the text search
        configurations of the rows for their store.
        """
        return self._format(
            """
            WITH configurations AS (
                INSERT INTO vector_store_text_configurations (organisation, vector_store, configuration)
                SELECT DISTINCT %(organisation)s, %(store)s, text_configuration FROM {incoming}
                ORDER BY text_configuration
                ON CONFLICT DO NOTHING)
            INSERT INTO {table} AS t (
                organisation, vector_store, id, document, text, attributes, embedding, words, words_version,
                text_configuration)
            SELECT %(organisation)s, %(store)s, i.id, i.document, i.text, i.attributes,
                coalesce(i.embedding, s.embedding), {lexemes}, {version}, i.text_configuration
            FROM {incoming} i
            LEFT JOIN {table} s
                ON s.organisation = %(organisation)s AND s.vector_store = %(store)s AND s.id = i.id
            WHERE (s.document, s.text, s.attributes, s.embedding)
                IS DISTINCT FROM (i.document, i.text, i.attributes, coalesce(i.embedding, s.embedding))
            ORDER BY i.id
            ON CONFLICT (organisation, vector_store, id) DO UPDATE SET
                document = excluded.document, text = excluded.text, attributes = excluded.attributes,
                embedding = excluded.embedding, words = excluded.words,
                words_version = excluded.words_version, text_configuration = excluded.text_configuration
            WHERE (t.document, t.text, t.attributes, t.embedding)
                IS DISTINCT FROM (excluded.document, excluded.text, excluded.attributes, excluded.embedding)
            """
        )

    def delete_others(self) -> sql.Composed:
        """Delete the document's rows that are not among the incoming rows. Returns the ids of the deleted
        rows, and for each id True if its vector is in an external index.
        """
        return self._format(
            """
            DELETE FROM {table} t
            WHERE {owned} AND document = %(document)s
                AND NOT EXISTS (SELECT FROM {incoming} i WHERE i.id = t.id)
            RETURNING id, embedding IS NULL
            """
        )

    def delete_some(self, owner: Sequence[str]) -> sql.Composed:
        """Delete at most ``limit`` rows of an owner. The rows are locked in the order that writers use.
        Returns what ``delete_others`` returns.

        Args:
            owner: names of the columns that identify the owner; the first is "organisation".
        """
        return self._format(
            """
            DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {table} WHERE {of} ORDER BY id LIMIT %(limit)s FOR UPDATE))
            RETURNING id, embedding IS NULL
            """,
            of=_of(owner),
        )

    def delete_documents(self) -> sql.Composed:
        """Delete the rows of some documents. The rows are locked in the order that writers use. Returns what
        ``delete_others`` returns.
        """
        return self._format(
            """
            DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {table} WHERE {owned} AND document = ANY(%(documents)s)
                ORDER BY id FOR UPDATE))
            RETURNING id, embedding IS NULL
            """
        )

    def delete_ids(self) -> sql.Composed:
        """Delete rows by id. The rows are locked in the order that writers use. Returns what
        ``delete_others`` returns.
        """
        return self._format(
            """
            DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {table} WHERE {owned} AND id = ANY(%(ids)s) ORDER BY id FOR UPDATE))
            RETURNING id, embedding IS NULL
            """
        )

    def document(self) -> sql.Composed:
        """Select a document's rows without their vectors."""
        return self._format(
            """
            SELECT id, document, text, attributes FROM {table}
            WHERE {owned} AND document = %(document)s ORDER BY id
            """
        )

    def ids(self) -> sql.Composed:
        """Select the ids of a document's rows."""
        return self._format("SELECT id FROM {table} WHERE {owned} AND document = %(document)s")

    def set_attributes(self) -> sql.Composed:
        """Update rows whose attributes differ from the given attributes. Returns the ids of the updated rows,
        and for each id True if its vector is in an external index.
        """
        return self._format(
            """
            UPDATE {table} AS t SET attributes = i.attributes
            FROM unnest(%(ids)s::text[], %(attributes)s::jsonb[]) AS i (id, attributes)
            WHERE t.organisation = %(organisation)s AND t.vector_store = %(store)s AND t.id = i.id
                AND t.attributes IS DISTINCT FROM i.attributes
            RETURNING t.id, t.embedding IS NULL
            """
        )

    def fetch(self) -> sql.Composed:
        """Select rows by id, without their vectors."""
        return self._format(
            "SELECT id, document, text, attributes FROM {table} WHERE {owned} AND id = ANY(%(ids)s)"
        )

    def passing(self, where: sql.Composable) -> sql.Composed:
        """Select the given ids whose rows exist and pass the filter."""
        return self._format(
            "SELECT id FROM {table} WHERE {owned} AND id = ANY(%(ids)s) AND {where}", where=where
        )

    def count(self) -> sql.Composed:
        """Count the rows of a store."""
        return self._format("SELECT count(*) FROM {table} WHERE {owned}")

    def scan(self) -> sql.Composed:
        """Select every row of a store, with its vector, ordered by id."""
        return self._format(
            """
            SELECT id, document, text, attributes, embedding AS vector FROM {table}
            WHERE {owned} ORDER BY id
            """
        )

    def _format(self, text: str, **parts: sql.Composable) -> sql.Composed:
        known = {
            "table": sql.Identifier(self.table_name),
            "incoming": sql.Identifier("pg_temp", self.incoming_name),
            "owned": OWNED,
            "lexemes": LEXEMES,
            "version": sql.Literal(WORDS_VERSION),
        }
        return sql.SQL(text).format(**known, **parts)


def _of(owner: Sequence[str]) -> sql.Composed:
    """Return the condition that a row belongs to the owner."""
    assert owner[0] == "organisation"
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in owner
    )
