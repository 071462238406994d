"""Renew the lexemes of stored chunks that were written by an older version, which spelt words differently.

Called by workers every few minutes, after each bulk load, and by ``make doctor`` with ``--mend``. Rows are
renewed in small transactions, so that searches and writes go on. An interrupted renewal continues with the
remaining rows.

    renew_words(pool, limit_s=60)
"""

import time
from typing import Any

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.session_lock import alone
from cluster.documents.chunks.chunk_statements import ChunkStatements
from cluster.vector_index.words import WORDS_VERSION, words

log = structlog.get_logger(__name__)

#: Rows of one transaction: their locks are held for some tenths of a second.
BATCH_ROWS = 500

#: Organisation, vector store and id of a row.
Key = tuple[str, str, str]


def renew_words(
    pool: ConnectionPool, *, limit_s: float, collection: str | None = None, again: bool = False
) -> int:
    """Renew rows of older versions. Returns the number of renewed rows.

    Args:
        limit_s: seconds after which no further transaction begins.
        collection: the only collection to renew; None: all of them.
        again: also look through collections that were finished; older code may have written to them since.
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
    """Renew rows in order of their key; rows that another transaction holds are left to the next call."""
    statements = ChunkStatements(collection)
    renewed = 0
    after: Key | None = ("", "", "")
    # The name is the one of the approximate index: renewal and the building of that index never run at the
    # same time.
    with alone(pool, f"{statements.table_name}_hnsw") as connection:
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
    connection: Connection[Any], statements: ChunkStatements, after: Key
) -> tuple[int, Key | None]:
    """The number of renewed rows, and the key of the last; None when no more rows follow."""
    organisation, store, id = after
    with connection.transaction():
        values = {"organisation": organisation, "store": store, "id": id, "limit": BATCH_ROWS}
        rows = connection.execute(statements.old_words(), values).fetchall()
        if not rows:
            return 0, None
        spelt = [words(text) for *_, text in rows]
        columns = list(zip(*rows, strict=True))
        given = {
            "organisations": list(columns[0]),
            "stores": list(columns[1]),
            "ids": list(columns[2]),
            "words": [one.text for one in spelt],
            "letters": [one.letters for one in spelt],
        }
        connection.execute(statements.renew_words(), given)
    return len(rows), rows[-1][:3]
