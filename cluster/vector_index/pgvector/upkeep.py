"""The approximate index of a collection: whether to build it, building it, dropping it. Called by the pgvector adapter.

with alone(pool, statements) as connection:
    if connection is not None:
        build(connection, statements, metric="cosine", index_from=20_000)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from psycopg import Connection
from psycopg.errors import Diagnostic
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.vector_index.contract import Metric
from cluster.vector_index.pgvector.statements import LONGEST_INDEXED_DIM, Statements

log = structlog.get_logger(__name__)


@contextmanager
def alone(pool: ConnectionPool, statements: Statements) -> Iterator[Connection[Any] | None]:
    """A connection without a transaction, as work CONCURRENTLY needs; None while another session has the indexes."""
    with translated(), pool.connection() as connection:
        connection.autocommit = True
        try:
            row = connection.execute(statements.lock_upkeep()).fetchone()
            held = bool(row and row[0])
            try:
                yield connection if held else None
            finally:
                if held and not connection.closed:
                    connection.execute(statements.unlock_upkeep())
        finally:
            if not connection.closed:
                connection.autocommit = False


def build(connection: Connection[Any], statements: Statements, *, metric: Metric, index_from: int) -> None:
    """Build the index if the collection has at least ``index_from`` rows and none yet."""
    connection.execute(statements.analyse())
    if statements.dim > LONGEST_INDEXED_DIM or size(connection, statements) < index_from:
        return
    if connection.execute(statements.has_index()).fetchone():
        return
    connection.execute(statements.drop_index())  # one whose building broke off is there, but not valid
    connection.add_notice_handler(_warn)
    try:
        connection.execute(statements.create_index(metric))
    finally:
        connection.remove_notice_handler(_warn)
    log.info("ann_index_built", index=statements.index_name)


def size(connection: Connection[Any], statements: Statements) -> int:
    """Rows of the collection when it was last analysed; -1 before."""
    row = connection.execute(statements.size()).fetchone()
    return int(row[0]) if row else -1


def _warn(notice: Diagnostic) -> None:
    if "maintenance_work_mem" in (notice.message_primary or ""):
        log.warning(
            "ann_index_builds_slowly",
            reason=notice.message_primary,
            remedy="raise maintenance_work_mem of the database",
        )
