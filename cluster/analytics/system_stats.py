"""Count the files, documents, chunks and jobs of an organisation.

The hourly roll-up calls ``count_system``, because these counts read many rows. ``GET /v1/stats`` shows the
last counts.

    count_system(connection, "acme")
    system_stats(connection, "acme").dead_letters
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.jobs.kinds import not_retryable

SQL = queries("cluster.analytics", "system_stats.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemStats:
    """The counts of an organisation at one time."""

    vector_stores: int
    files: int
    documents: int
    chunks: int
    #: Bytes of the files.
    bytes: int
    #: Number of jobs by state, without archived jobs.
    jobs: Mapping[str, int]
    #: Number of attempts of these jobs, without the first attempt of each job.
    retries: int
    #: Failed jobs that can be queued again.
    dead_letters: int
    computed_at: datetime


def count_system(connection: Connection[Any], organisation: str) -> None:
    """Count the files, documents, chunks and jobs, and replace the stored counts."""
    values = {"organisation": organisation, "not_retryable": not_retryable()}
    connection.execute(SQL["count"], values)


def system_stats(connection: Connection[Any], organisation: str) -> SystemStats | None:
    """Return the last counts; None if no roll-up has counted yet."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], {"organisation": organisation}).fetchone()
    return SystemStats(**{**row, "bytes": int(row["bytes"])}) if row else None
