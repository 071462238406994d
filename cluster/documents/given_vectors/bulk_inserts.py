"""Save the progress of a job that inserts a file of given vectors, and the rows that the job could not
insert.

A worker saves the progress and the failed rows in the transaction that writes the other rows. So every row
counts exactly once, even if the worker is killed at any moment.

    standing = get_standing(connection, "acme", job.id)
    standing = standing.after(8_000, done, faults)
    save_standing(connection, "acme", job.id, standing, faults)
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from psycopg import Connection
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.queries import queries
from cluster.documents.given_vectors.faults import RowFault
from cluster.vector_index.contract import Written

SQL = queries("cluster.documents.given_vectors", "bulk_inserts.sql")

#: For each kind of fault, the maximum number of failed rows whose numbers are in the result of the job.
ROWS_SHOWN = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The progress of a job. ``written``, ``unchanged`` and ``failed`` add up to ``rows``."""

    #: Number of the last row that is done, from 1; 0 if no row is done.
    position: int = 0
    #: Number of rows that are done.
    rows: int = 0
    #: Number of rows that are new, or that differ from the stored row with the same id.
    written: int = 0
    #: Number of rows that were stored already, with the same values.
    unchanged: int = 0
    #: Number of failed rows by kind of fault.
    failed: Mapping[str, int] = field(default_factory=dict)
    #: Numbers of the first ``ROWS_SHOWN`` failed rows by kind of fault.
    first_failed: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def after(self, position: int, written: Written, faults: Sequence[RowFault]) -> "Standing":
        """Return the progress after further rows.

        Args:
            position: number of the last of these rows.
            written: how many of these rows were written, and how many were unchanged.
            faults: the faults of the rows that were not inserted.
        """
        first = {kind: list(rows) for kind, rows in self.first_failed.items()}
        for fault in faults:
            if len(shown := first.setdefault(fault.kind, [])) < ROWS_SHOWN:
                shown.append(fault.row)
        return Standing(
            position=position,
            rows=self.rows + written.written + written.unchanged + len(faults),
            written=self.written + written.written,
            unchanged=self.unchanged + written.unchanged,
            failed=dict(Counter(self.failed) + Counter(fault.kind.value for fault in faults)),
            first_failed=first,
        )


def get_standing(connection: Connection[Any], organisation: str, job: str) -> Standing:
    """Return the progress that the job saved last. If the job has saved no progress, return ``Standing()``,
    in which no row is done.
    """
    row = connection.execute(SQL["get"], {"organisation": organisation, "job": job}).fetchone()
    return Standing() if row is None else Standing(position=row[0], **row[1])


def save_standing(
    connection: Connection[Any],
    organisation: str,
    job: str,
    standing: Standing,
    faults: Sequence[RowFault],
) -> None:
    """Save the progress of the job in the caller's transaction, and the faults that were found since the job
    last saved its progress. The commit does not wait for the disk, because a crash of the database can only
    lose the rows together with the progress.
    """
    counts = asdict(standing)
    key = {"organisation": organisation, "job": job, "position": counts.pop("position")}
    connection.execute(SQL["commit_later"])
    connection.execute(SQL["save"], {**key, "counts": Jsonb(counts)})
    if faults:
        lines = b"".join(orjson.dumps(asdict(fault)) + b"\n" for fault in faults)
        connection.execute(SQL["add_faults"], {**key, "lines": zlib.compress(lines)})


def fault_lines(pool: ConnectionPool, organisation: str, job: str) -> Iterator[bytes]:
    """Yield the error file of a job, some lines at a time. Each line is a JSON object with ``row``, ``id``,
    ``kind`` and ``message``.
    """
    after = 0
    while True:
        values = {"organisation": organisation, "job": job, "after": after}
        with translated(), pool.connection() as connection:
            row = connection.execute(SQL["next_faults"], values).fetchone()
        if row is None:
            return
        after = row[0]
        yield zlib.decompress(row[1])


def forget_standing(connection: Connection[Any], organisation: str, job: str) -> None:
    """Delete the progress and the failed rows of a job that has ended."""
    for statement in ("delete", "delete_faults"):
        connection.execute(SQL[statement], {"organisation": organisation, "job": job})
