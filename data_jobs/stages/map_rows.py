"""What every stage of a row has in common: settled rows pass, and an exception costs its own row only.

Ray Data has no errors of a row: an exception raised in a stage loses or replays the row's whole block. So the
pipeline wraps each stage, and a failure becomes the row's outcome.

    dataset.map_batches(map_rows(Read(settings), settings), batch_format="pyarrow", batch_size=1)
"""

from collections.abc import Callable

import pyarrow as pa
import structlog

from cluster.errors import Retryable
from cluster.logs import about
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages import process_resources
from data_jobs.stages.document_row import CHUNKS, DocumentRow, pack, to_rows, to_table

log = structlog.get_logger(__name__)

Stage = Callable[[DocumentRow], DocumentRow]


def settled(row: DocumentRow) -> bool:
    """True when nothing is left to do for the row but to record it."""
    return row["unchanged"] or not Outcome(row["outcome"]).searchable


def failed(row: DocumentRow, outcome: Outcome, detail: str) -> DocumentRow:
    """The row with its outcome, and without what only a success carries."""
    return {
        **row,
        "outcome": outcome,
        "detail": detail,
        "content": b"",
        "page_texts": [],
        "chunks": pack(CHUNKS.empty_table()),
        "vectors": b"",
    }


def map_rows(stage: Stage, settings: Settings, **fields: str) -> Callable[[pa.Table], pa.Table]:
    """The stage as a function of tables: settled rows pass, an exception becomes its row's outcome ``failed``.

    Args:
        fields: what every log line of the stage carries beside stage and document: job, organisation.

    Raises:
        Retryable: what the stage waits for stayed away; that is no fault of the document.
    """
    name = type(stage).__name__

    def guarded(row: DocumentRow) -> DocumentRow:
        if settled(row):
            return row
        try:
            with about(document=row["document"]):
                return stage(row)
        except Retryable:  # already waited for: let the run end, the next one goes on from here
            raise
        except Exception as exc:  # the process edge of a row: logged, and recorded as its outcome
            log.exception("stage_failed", document=row["document"], source=row["source"])
            return failed(row, Outcome.FAILED, f"{name.lower()} failed: {type(exc).__name__}: {exc}")

    def run(table: pa.Table) -> pa.Table:
        process_resources.configure_logs(settings)
        with about(stage=name.lower(), **fields):
            return to_table([guarded(row) for row in to_rows(table)])

    run.__name__ = name  # Ray Data names its operators, and so the dashboard's lines, by this
    return run
