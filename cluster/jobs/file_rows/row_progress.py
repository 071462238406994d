"""Save the progress of a job that reads a file row by row, and the rows that the job could not store.

A worker saves the progress and the failed rows in the transaction that stores the other rows. So every row
counts exactly once, even if the worker is killed at any moment. ``bulk_insert_vectors`` and
``import_events`` call these functions.

    position, counts = get_progress(connection, "acme", job.id)
    save_progress(connection, job, 8_000, {"accepted": 7_990}, [{"row": 7, "message": "..."}])
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from psycopg import Connection
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.queries import queries
from cluster.jobs.jobs import Job

SQL = queries("cluster.jobs.file_rows", "row_progress.sql")


def get_progress(connection: Connection[Any], organisation: str, job: str) -> tuple[int, Mapping[str, Any]]:
    """Return the number of the last row that is done, from 1, and the saved counts. If the job has saved
    nothing, return 0 and no counts.
    """
    row = connection.execute(SQL["get"], {"organisation": organisation, "job": job}).fetchone()
    return (0, {}) if row is None else (row[0], row[1])


def save_progress(
    connection: Connection[Any],
    job: Job,
    position: int,
    counts: Mapping[str, Any],
    faults: Sequence[Mapping[str, Any]],
) -> None:
    """Save the progress of the job in the caller's transaction. The commit does not wait for the disk,
    because a crash of the database can only lose the rows together with the progress.

    Args:
        position: number of the last row that is done, from 1.
        counts: numbers for the result of the job.
        faults: the failed rows that were found since the job last saved its progress.
    """
    key = {"organisation": job.organisation, "job": job.id, "position": position}
    connection.execute(SQL["commit_later"])
    connection.execute(SQL["save"], {**key, "counts": Jsonb(counts)})
    if faults:
        lines = b"".join(orjson.dumps(fault) + b"\n" for fault in faults)
        connection.execute(SQL["add_faults"], {**key, "lines": zlib.compress(lines)})


def fault_lines(pool: ConnectionPool, organisation: str, job: str) -> Iterator[bytes]:
    """Yield the error file of a job, some lines at a time. Each line is a failed row as a JSON object."""
    after = 0
    while True:
        values = {"organisation": organisation, "job": job, "after": after}
        with translated(), pool.connection() as connection:
            row = connection.execute(SQL["next_faults"], values).fetchone()
        if row is None:
            return
        after = row[0]
        yield zlib.decompress(row[1])


def forget_progress(connection: Connection[Any], organisation: str, job: str) -> None:
    """Delete the progress and the failed rows of a job that has ended."""
    for statement in ("delete", "delete_faults"):
        connection.execute(SQL[statement], {"organisation": organisation, "job": job})
