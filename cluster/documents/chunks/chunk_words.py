"""Renew the lexemes of chunks that an older version of this code wrote, because the older version normalised
words differently or used another text search configuration.

Workers call this module every ten minutes and after each bulk load. ``make doctor`` with ``--mend`` calls
this module, too. Small transactions renew the rows, so searches and writes continue. After an interruption,
the next call renews the remaining rows.

    renew_words(pool, limit_s=60)
"""

import time
from typing import Any

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import for_all_organisations, translated
from cluster.database.session_lock import alone
from cluster.documents.chunks.word_statements import WordStatements
from cluster.vector_index.text_configurations import text_configuration
from cluster.vector_index.words import WORDS_VERSION, words

log = structlog.get_logger(__name__)

#: Maximum number of rows per transaction. At this size, locks are held for a few tenths of a second.
BATCH_ROWS = 500

#: Organisation, vector store and id of a row.
Key = tuple[str, str, str]


def renew_words(
    pool: ConnectionPool, *, limit_s: float, collection: str | None = None, again: bool = False
) -> int:
    """Renew the rows whose words have an older version. Returns the number of renewed rows.

    Args:
        limit_s: seconds after which no further transaction begins.
        collection: the only collection to renew; None: all collections.
        again: also check collections that were finished before, because older code may have written rows
            since.
    """
    deadline = time.monotonic() + limit_s
    with translated(), pool.connection() as connection:
        older = connection.execute(
            """
            SELECT name FROM vector_collections
            WHERE (words_version < %s OR %s) AND name = coalesce(%s, name) ORDER BY name
            """,
            [WORDS_VERSION, again, collection],
        ).fetchall()
    return sum(_renew(pool, name, deadline) for (name,) in older)


def _renew(pool: ConnectionPool, collection: str, deadline: float) -> int:
    """Renew the rows of one collection in the order of their keys. Rows that another transaction has locked
    are left for the next call.
    """
    statements = WordStatements(collection)
    renewed = 0
    after: Key | None = ("", "", "")
    # The lock has the name of the approximate index, so renewal never runs while that index is built or
    # dropped.
    with for_all_organisations(), alone(pool, f"{statements.table_name}_hnsw") as connection:
        if connection is None:
            return 0
        while after is not None and time.monotonic() < deadline:
            rows, after = _renew_some(connection, statements, after)
            renewed += rows
        if after is None and connection.execute(statements.old_words_left()).fetchone() is None:
            values = {"name": collection, "version": WORDS_VERSION}
            connection.execute(
                "UPDATE vector_collections SET words_version = %(version)s WHERE name = %(name)s", values
            )
            log.info("words_renewed", collection=collection, rows=renewed)
    return renewed


def _renew_some(
    connection: Connection[Any], statements: WordStatements, after: Key
) -> tuple[int, Key | None]:
    """Renew the next rows. Returns the number of renewed rows, and the key of the last renewed row. The key
    is None if no rows were left.
    """
    organisation, store, id = after
    with connection.transaction():
        values = {"organisation": organisation, "store": store, "id": id, "limit": BATCH_ROWS}
        rows = connection.execute(statements.old_words(), values).fetchall()
        if not rows:
            return 0, None
        spelt = [words(text) for _, _, _, text, _ in rows]
        columns = list(zip(*rows, strict=True))
        given = {
            "organisations": list(columns[0]),
            "stores": list(columns[1]),
            "ids": list(columns[2]),
            "words": [one.text for one in spelt],
            "letters": [one.letters for one in spelt],
            "configurations": [text_configuration(text, attributes) for _, _, _, text, attributes in rows],
        }
        connection.execute(statements.renew_words(), given)
    return len(rows), rows[-1][:3]
