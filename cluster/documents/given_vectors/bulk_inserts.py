"""Count the rows of a job that inserts a file of given vectors, and save the counts
(``cluster.jobs.file_rows.row_progress``).

    standing = get_standing(connection, "acme", job.id)
    standing = standing.after(8_000, done, faults)
    save_standing(connection, job, standing, faults)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg import Connection

from cluster.documents.given_vectors.faults import RowFault
from cluster.jobs.file_rows.row_progress import get_progress, save_progress
from cluster.jobs.jobs import Job
from cluster.vector_index.contract import Written

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
    position, counts = get_progress(connection, organisation, job)
    return Standing(position=position, **counts)


def save_standing(
    connection: Connection[Any], job: Job, standing: Standing, faults: Sequence[RowFault]
) -> None:
    """Save the progress of the job in the caller's transaction, and the faults that were found since the job
    last saved its progress.
    """
    counts = asdict(standing)
    save_progress(connection, job, counts.pop("position"), counts, [asdict(fault) for fault in faults])
