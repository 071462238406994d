"""End the job of a container that has no text of its own, after the jobs of its entries have ended."""

from dataclasses import asdict
from typing import Any

from psycopg import Connection

from cluster.documents.containers.container_entries import EntryCounts, list_entries
from cluster.documents.vector_stores import store_files
from cluster.documents.vector_stores.store_files import FileStatus
from cluster.jobs import attempts
from cluster.jobs.kinds import INDEX_FILE
from cluster.records import Outcome
from data_jobs.kinds.containers.index_entries import UNPACK, Entries
from data_jobs.worker.budget_hold import BudgetHold
from data_jobs.worker.stage_errors import StageFailed

#: If no entry of a container is searchable, at most this number of entries are read to find a reason.
ENTRIES_LOOKED_AT = 100


async def finish_container(entries: Entries, counts: EntryCounts | None, hold: BudgetHold) -> None:
    """End the job with success, and record that the container is completed.

    Args:
        entries: the entries of the container.
        counts: the result of ``Entries.index``.
        hold: the hold on the budget, which is released.

    Raises:
        StageFailed: the container has no entries, or none of its entries is searchable. In the second case,
            the error names the first known reason.
        NotWanted: see ``Entries.hold``.
    """
    if counts is None:
        raise StageFailed(UNPACK, "holds no files", Outcome.EMPTY)

    def in_transaction(connection: Connection[Any]) -> None:
        if not counts.completed:
            _raise_unsearchable(connection, entries, counts)
        attempt, store, file = entries.attempt, entries.store, entries.file
        attached = entries.hold(connection)
        attempts.hold(connection, attempt.job)
        hold.release(connection)
        store_files.record_status(
            connection,
            file.organisation,
            store.id,
            file.id,
            attempt.job.id,
            status=FileStatus.COMPLETED,
            usage_bytes=0,  # the bytes are counted for the files of the entries
            failed_pages=[],
        )
        zeros = dict.fromkeys(("pages", "chunks", "embedded", "tokens", "tokens_embedded"), 0)
        complete = counts.completed == counts.total
        found: dict[str, Any] = {
            **zeros,
            "document": attached.document,
            "outcome": Outcome.OK if complete else Outcome.PARTIAL_TEXT,
            "detail": "" if complete else f"{counts.completed:,} of {counts.total:,} entries are searchable",
            "facts": {},
            "failed_pages": [],
            "vector_store": store.id,
            "file": file.id,
            "entries": asdict(counts),
        }
        attempts.finish(connection, attempt.job, result={name: found[name] for name in INDEX_FILE.result})

    await entries.attempt.in_transaction(in_transaction)


def _raise_unsearchable(connection: Connection[Any], entries: Entries, counts: EntryCounts) -> None:
    file = entries.file
    some = list_entries(
        connection, file.organisation, entries.store.id, file.id, after=-1, limit=ENTRIES_LOOKED_AT
    )
    first = next((entry for entry in some if entry.detail), None)
    because = f"; {first.path}: {first.detail}" if first else ""
    codes = {entry.outcome for entry in some}
    code = codes.pop() if len(codes) == 1 else None
    raise StageFailed(
        UNPACK, f"none of its {counts.total:,} entries is searchable{because}", code or Outcome.UNSUPPORTED
    )
