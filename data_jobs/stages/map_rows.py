"""Run a stage on each row of a table. Rows that need no more work (see ``settled``) pass unchanged. An
exception fails only the row that caused the exception.

Ray Data has no errors per row: an exception in a stage loses or repeats the whole block of rows. So the
pipeline wraps each stage, and turns an exception into the outcome of the row. Only ``Retryable`` ends the
run.

    dataset.map_batches(map_rows(Read(settings), settings), batch_format="pyarrow", batch_size=1)
"""

from collections.abc import Callable, Iterator

import pyarrow as pa
import structlog

from cluster.errors import BudgetExceeded, Retryable
from cluster.logs import about
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages import process_resources
from data_jobs.stages.document_row import CHUNKS, DocumentRow, pack, to_rows, to_table
from data_jobs.stages.stage_context import in_stage

log = structlog.get_logger(__name__)

Stage = Callable[[DocumentRow], DocumentRow]
#: A stage that makes several rows of one row.
ManyStage = Callable[[DocumentRow], Iterator[DocumentRow]]


def settled(row: DocumentRow) -> bool:
    """Return True if the row needs no further stage except ``Write``, which records the result."""
    return row["unchanged"] or not Outcome(row["outcome"]).searchable


def failed(row: DocumentRow, outcome: Outcome, detail: str) -> DocumentRow:
    """Return a copy of the row with this outcome and detail, and without content, pages, chunks and vectors.
    Documents with this outcome must not be searchable.
    """
    return {
        **row,
        "outcome": outcome,
        "detail": detail,
        "content": b"",
        "page_texts": [],
        "structures": [],
        "chunks": pack(CHUNKS.empty_table()),
        "vectors": b"",
    }


def map_rows(stage: Stage, settings: Settings, **fields: str) -> Callable[[pa.Table], pa.Table]:
    """Return a function that applies the stage to each row of a table.

    Args:
        stage: called with each row that is not settled.
        settings: decides the form of the log lines.
        fields: fields to add to every log line of the stage, such as job and organisation.

    Raises:
        Retryable: (raised by the returned function) a service that the stage needs stayed unavailable. The
            run ends, because no document caused this error.
    """
    name = type(stage).__name__

    def apply(row: DocumentRow) -> DocumentRow:
        if settled(row):
            return row
        try:
            with about(document=row["document"]):
                return stage(row)
        except Retryable:  # the stage has waited already, so end the run; the next run continues here
            raise
        except BudgetExceeded as exc:  # not logged, because the first refusal of the budget is in the log
            return failed(row, Outcome.FAILED, str(exc))
        except Exception as exc:  # only this row fails: log the error, and make it the outcome
            log.exception("stage_failed", document=row["document"], source=row["source"])
            return failed(row, Outcome.FAILED, f"{name.lower()} failed: {type(exc).__name__}: {exc}")

    def run(table: pa.Table) -> pa.Table:
        process_resources.configure_logs(settings)
        with in_stage(name.lower(), **fields):
            return to_table([apply(row) for row in to_rows(table)])

    run.__name__ = name  # Ray's dashboard shows this name
    return run


def map_rows_to_many(
    stage: ManyStage, settings: Settings, **fields: str
) -> Callable[[pa.Table], Iterator[pa.Table]]:
    """Return a function that applies the stage to each row of a table, and yields a table for each row
    that the stage makes. So the rows of a large archive never have to fit into memory together.

    Args:
        stage: called with each row that has not failed.
        settings: decides the form of the log lines.
        fields: fields to add to every log line of the stage, such as job and organisation.

    Raises:
        Retryable: (raised by the returned function) see ``map_rows``.
    """
    name = type(stage).__name__

    def apply(row: DocumentRow) -> Iterator[DocumentRow]:
        if not Outcome(row["outcome"]).searchable:
            yield row
            return
        try:
            with about(document=row["document"]):
                yield from stage(row)
        except Retryable:  # for the same reason as in map_rows
            raise
        except Exception as exc:  # only this row fails: log the error, and make it the outcome
            log.exception("stage_failed", document=row["document"], source=row["source"])
            yield failed(row, Outcome.FAILED, f"{name.lower()} failed: {type(exc).__name__}: {exc}")

    def run(table: pa.Table) -> Iterator[pa.Table]:
        process_resources.configure_logs(settings)
        with in_stage(name.lower(), **fields):
            for row in to_rows(table):
                for made in apply(row):
                    yield to_table([made])

    run.__name__ = name
    return run
