"""Build the SQL statements that read whole stores, and that compare two stores; see ``chunk_copies``."""

from psycopg import sql

from cluster.documents.chunks.chunk_statements import ChunkStatements


class CopyStatements(ChunkStatements):
    """Builds the statements that copy and compare stores, for one collection's chunk table."""

    def of_documents(self) -> sql.Composed:
        """Select the rows of some documents, with their vectors."""
        return self._format(
            """
            SELECT id, document, text, attributes, embedding AS vector FROM {table}
            WHERE {owned} AND document = ANY(%(documents)s) ORDER BY document, id
            """
        )

    def without_document(self) -> sql.Composed:
        """Select the rows of a store whose document has no record in ``documents``."""
        return self._format(
            """
            SELECT id, document, text, attributes, embedding AS vector FROM {table} AS chunk
            WHERE {owned} AND NOT EXISTS (
                SELECT FROM documents
                WHERE documents.organisation = chunk.organisation AND documents.id = chunk.document
                    AND documents.vector_store = chunk.vector_store)
            ORDER BY id
            """
        )

    def some_ids(self) -> sql.Composed:
        """Select the ids with the lowest hashes. These ids are spread over the store."""
        return self._format(
            "SELECT id FROM {table} WHERE {owned} ORDER BY hashtextextended(id, 0), id LIMIT %(limit)s"
        )

    def vectors(self) -> sql.Composed:
        """Select vectors by id."""
        return self._format("SELECT id, embedding FROM {table} WHERE {owned} AND id = ANY(%(ids)s)")

    def compare(self) -> sql.Composed:
        """Count the rows that only the first store has, the rows that only the second store has, and the rows
        that both stores have but that differ. Rows are compared by id.
        """
        return self._format(
            """
            SELECT count(*) FILTER (WHERE two.id IS NULL), count(*) FILTER (WHERE one.id IS NULL),
                count(*) FILTER (WHERE one.id = two.id AND (
                    (one.text, one.attributes) IS DISTINCT FROM (two.text, two.attributes)
                    OR one.embedding <> two.embedding))
            FROM (SELECT * FROM {table} WHERE {owned}) AS one
            FULL JOIN (
                SELECT * FROM {table} WHERE organisation = %(organisation)s AND vector_store = %(other)s
            ) AS two USING (id)
            """
        )
