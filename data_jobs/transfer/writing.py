"""Write documents and chunks into a store. A document is written in one transaction with all of its chunks,
its record and its attached file.

writer = StoreWriter(settings, pool, indexes.of(store), store, job=job.id)
writer.write(part)
writer.counts.written
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents import documents
from cluster.documents.chunks import chunk_store
from cluster.documents.chunks.chunk_rows import ROWS_PER_TRANSACTION, ChunkRecord, batches
from cluster.documents.copies import Copied, hold_files, write_documents
from cluster.documents.indexing import Ahead, ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import Permanent
from cluster.settings import Settings
from cluster.usage.events import UsageSource, record_usage
from cluster.usage.work import chunk_usage
from cluster.vector_index.contract import Written
from data_jobs.stages.database_retry import with_database_retry
from data_jobs.transfer.reading import Part, with_vectors

log = structlog.get_logger(__name__)

#: Maximum number of reasons that the summary lists.
REASONS_KEPT = 25

T = TypeVar("T")
Document = tuple[Copied, list[ChunkRecord]]


@dataclass(kw_only=True, slots=True)
class Counts:
    """Counts the chunks of a run. At the end, ``source`` is the sum of ``written``, ``unchanged`` and
    ``failed``.
    """

    #: Number of chunks that were read.
    source: int = 0
    #: Number of chunks that are new in the store, or have changed.
    written: int = 0
    #: Number of chunks that the store had already.
    unchanged: int = 0
    #: Number of chunks that could not be written.
    failed: int = 0
    #: The first documents and files that were left out or failed, each with the reason.
    reasons: list[str] = field(default_factory=list)
    #: Number of all documents and files that were left out or failed.
    left_out: int = 0

    def add(self, written: Written) -> None:
        """Add the numbers of written and unchanged chunks of a write."""
        self.written += written.written
        self.unchanged += written.unchanged

    def summary(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        more = self.left_out - len(self.reasons)
        reasons = [*self.reasons, *([f"and {more:,} more, which the log names"] if more else [])]
        return {
            "source": self.source,
            "written": self.written,
            "unchanged": self.unchanged,
            "failed": self.failed,
            "left_out": reasons,
        }

    def leave_out(self, what: str, reason: str, chunks: int) -> None:
        """Count a document or a chunk that was left out or failed, and keep the reason."""
        self.failed += chunks
        self.left_out += 1
        log.warning("not_copied", what=what, reason=reason, chunks=chunks)
        if len(self.reasons) < REASONS_KEPT:
            self.reasons.append(f"{what}: {reason}")


class StoreWriter:
    """Writes documents and chunks into one store, and counts the chunks. A repeated write changes nothing in
    the store.

    Args:
        index: the chunk index of the store.
        job: id of the job that writes.
    """

    def __init__(
        self, settings: Settings, pool: ConnectionPool, index: ChunkIndex, store: VectorStore, *, job: str
    ) -> None:
        self._settings, self._pool, self._index, self._store, self._job = settings, pool, index, store, job
        self._place = (store.organisation, store.id)
        #: Maximum number of chunks in one write, chosen for the index.
        self.rows_at_once = index.vectors.capabilities.rows_at_once(store.fingerprint.dim)
        self.counts = Counts()

    def write(self, part: Part) -> None:
        """Write the part. If a document or a chunk cannot be written, record this in ``counts``, and write
        the other documents and chunks.

        Raises:
            Retryable: the database or the index stayed unavailable. Everything written so far stays.
        """
        self.counts.source += part.size
        part = with_vectors(part, self.counts.leave_out)
        whole = [one for one in part.documents if self._has_ended(one)]
        if whole:
            self._write_documents(sorted(whole, key=lambda one: one[0].id_in(self._store)))
        for rows in batches(part.chunks, self.rows_at_once):
            self._write_chunks(rows)

    def _has_ended(self, one: Document) -> bool:
        copied, rows = one
        if copied.file is None or copied.file.status != "in_progress":
            return True
        self.counts.leave_out(copied.file.file, "its job has not ended; copy again after that", len(rows))
        return False

    def _write_documents(self, some: Sequence[Document]) -> None:
        try:
            written, busy = self._retry(lambda: self._documents_once(some))
        except Permanent as exc:
            if len(some) > 1:
                for one in some:
                    self._write_documents([one])
            else:
                self.counts.leave_out(some[0][0].id, str(exc), len(some[0][1]))
            return
        for result in written:
            self.counts.add(result)
        for copied, rows in busy:
            self.counts.leave_out(copied.id, "a job of the target store works on this file", len(rows))
        self._index.settle(*self._place)

    def _documents_once(self, some: Sequence[Document]) -> tuple[list[Written], list[Document]]:
        """Write the documents in one transaction. Return the result of each written document, and the
        documents that were left out because a job works on their files.
        """
        collection = self._store.collection
        rows = {
            copied.id: [replace(row, document=copied.id_in(self._store)) for row in self._unsent(rows)]
            for copied, rows in some
        }
        ahead = self._index.write_ahead(
            *self._place, [row for of_one in rows.values() for row in of_one], collection=collection
        )
        files = [copied.file.file for copied, _ in some if copied.file is not None]
        with translated(), self._pool.connection() as connection, connection.transaction():
            # Lock files before documents, because workers use the same order. So no deadlock occurs.
            held = hold_files(connection, self._store, files)
            free = [one for one in some if one[0].file is None or one[0].file.file not in held]
            write_documents(connection, self._store, [copied for copied, _ in free], job=self._job)
            written = []
            for copied, _ in free:
                target = copied.id_in(self._store)
                documents.lock_document(connection, self._store.organisation, target)
                result = self._index.make_current(
                    connection,
                    *self._place,
                    target,
                    rows[copied.id],
                    collection=collection,
                    ahead=_part_of(ahead, rows[copied.id]),
                )
                result.require_all()
                self._record_usage(connection, target, result)
                written.append(result)
        return written, [one for one in some if one not in free]

    def _write_chunks(self, rows: list[ChunkRecord]) -> None:
        collection = self._store.collection

        def once() -> Written:
            ahead = self._index.write_ahead(*self._place, rows, collection=collection)
            with translated(), self._pool.connection() as connection, connection.transaction():
                written = self._index.merge(connection, *self._place, rows, collection, ahead, known={})
                self._record_usage(connection, rows[0].id, written)
            return written

        try:
            self.counts.add(self._retry(once))
        except Permanent as exc:
            refused = set(exc.row_ids) & {row.id for row in rows}
            if not refused:
                refused = {row.id for row in rows}
            for id in sorted(refused):
                self.counts.leave_out(id, str(exc), 1)
            if rest := [row for row in rows if row.id not in refused]:
                self._write_chunks(rest)

    def _record_usage(self, connection: Connection[Any], of: str, written: Written) -> None:
        """Record the written chunks.

        Args:
            of: id of the document of the chunks, or of the first chunk if the chunks have no document.
        """
        work = f"{self._store.id}/{of}/{self._job}"
        event = chunk_usage(
            self._store.organisation, work, written.written, source=UsageSource.JOB, job=self._job
        )
        record_usage(connection, [event])

    def _retry(self, work: Callable[[], T]) -> T:
        return with_database_retry(self._settings, work, pool=self._pool)

    def _unsent(self, rows: list[ChunkRecord]) -> list[ChunkRecord]:
        """Return the rows without the vectors that an external index has already. So a copy that continues
        after an interruption sends only new vectors.
        """
        if self._index.external is None or not rows:
            return rows
        collection = self._index.collection(self._store.collection)
        kept: list[ChunkRecord] = []
        for part in batches(rows, ROWS_PER_TRANSACTION):
            ids = [row.id for row in part]
            with translated(), self._pool.connection() as connection:
                known = chunk_store.fetch(connection, *self._place, ids, collection=collection.name)
            same = [row.id for row in part if row.id in known and known[row.id].attributes == row.attributes]
            stored = self._index.external.fetch(*self._place, same, collection=collection) if same else {}
            kept += [replace(row, vector=None) if _equal(row, stored) else row for row in part]
        return kept


def _equal(row: ChunkRecord, stored: dict[str, Any]) -> bool:
    vector = stored.get(row.id)
    return vector is not None and row.vector is not None and vector.tobytes() == row.vector.tobytes()


def _part_of(ahead: Ahead | None, rows: Sequence[ChunkRecord]) -> Ahead | None:
    """Return the part of ``ahead`` that belongs to the rows of one document."""
    if ahead is None:
        return None
    ids = {row.id for row in rows}
    return replace(ahead, attributes={id: of for id, of in ahead.attributes.items() if id in ids})
