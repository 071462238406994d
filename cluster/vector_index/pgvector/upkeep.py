"""Build the approximate index of a collection if the collection needs one.

The pgvector adapter calls this module.
"""

from typing import Any

import structlog
from psycopg import Connection
from psycopg.errors import Diagnostic

from cluster.vector_index.pgvector.statements import LONGEST_INDEXED_DIM, Statements

log = structlog.get_logger(__name__)


def build(connection: Connection[Any], statements: Statements, *, index_from: int) -> None:
    """Refresh the statistics of the table, and build the approximate index if it is missing.

    Build no index if the collection has fewer than ``index_from`` rows, or if pgvector cannot index vectors
    of this length.
    """
    connection.execute(statements.analyse())
    if not is_missing(connection, statements, index_from=index_from):
        return
    connection.execute(statements.drop_index())  # remove what an interrupted build has left
    connection.add_notice_handler(_warn)
    try:
        connection.execute(statements.create_index())
    finally:
        connection.remove_notice_handler(_warn)
    log.info("ann_index_built", index=statements.index_name)


def is_missing(connection: Connection[Any], statements: Statements, *, index_from: int) -> bool:
    """Return True if there is no complete index, although the collection should have an index.

    A collection should have an index if it had at least ``index_from`` rows at its last analysis, and
    pgvector can index vectors of this length.
    """
    if statements.dim > LONGEST_INDEXED_DIM or size(connection, statements) < index_from:
        return False
    return connection.execute(statements.has_index()).fetchone() is None


def size(connection: Connection[Any], statements: Statements) -> int:
    """Return the number of rows of the collection at its last analysis; -1 before the first analysis."""
    row = connection.execute(statements.size()).fetchone()
    return int(row[0]) if row else -1


def _warn(notice: Diagnostic) -> None:
    if "maintenance_work_mem" in (notice.message_primary or ""):
        log.warning(
            "ann_index_builds_slowly",
            reason=notice.message_primary,
            remedy="raise maintenance_work_mem of the database",
        )
