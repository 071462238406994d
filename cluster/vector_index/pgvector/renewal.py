"""Bring the words of stored rows up to date, where they were written by a version that spelt words differently.

Called by workers every few minutes, after each bulk load, and by ``make doctor`` with ``--mend``. Rows are renewed in
small transactions, so that searches and writes go on; stopped anywhere, it goes on from what is left.

    renew_words(pool, limit_s=60)
"""

import time
from typing import Any

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.vector_index.pgvector.statements import Statements
from cluster.vector_index.pgvector.upkeep import alone
from cluster.vector_index.words import WORDS_VERSION, words

log = structlog.get_logger(__name__)

#: Rows of one transaction: their locks are held for some tenths of a second.
BATCH_ROWS = 500

#: Organisation, vector store and id of a row.
Key = tuple[str, str, str]


def renew_words(
    pool: ConnectionPool, *, limit_s: float, collection: str | None = None, again: bool = False
) -> int:
    """Renew rows of older versions; how many were renewed.

    Args:
        limit_s: begin no transaction after so many seconds.
        collection: of this one alone; None: of all.
        again: look through collections that were finished, too; older code may have written to them since.
    """
    deadline = time.monotonic() + limit_s
    with translated(), pool.connection() as connection:
        older = connection.execute(
            "SELECT name, dim FROM vector_collections WHERE (words_version < %s OR %s) AND name = coalesce(%s, name) ORDER BY name",
            [WORDS_VERSION, again, collection],
        ).fetchall()
    return sum(_renew(pool, Statements(name, dim), name, deadline) for name, dim in older)


def _renew(pool: ConnectionPool, statements: Statements, collection: str, deadline: float) -> int:
    """In order of the key, from the beginning; rows that another transaction holds are left to the next call."""
    renewed = 0
    after: Key | None = ("", "", "")
    with alone(pool, statements) as connection:
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


def _renew_some(connection: Connection[Any], statements: Statements, after: Key) -> tuple[int, Key | None]:
    """How many rows, and the last one's key; None when there are no more."""
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
