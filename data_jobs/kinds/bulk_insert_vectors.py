"""The job that inserts a file of given vectors into a vector store: read, insert, index, report.

Each transaction writes some rows and records the progress of the job. So a job whose worker was killed
continues after the last recorded row, and each row is counted only once. If a row cannot be inserted, the
other rows are still inserted. The result has the numbers of the first failed rows, and an error file lists
all failed rows.
"""

import asyncio
import contextlib
import tempfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, BinaryIO

import structlog
from psycopg import Connection

from cluster.blobs import Blob
from cluster.documents.chunks.bulk_load import ApproximateIndex
from cluster.documents.files import File, get_file
from cluster.documents.given_vectors.bulk_inserts import (
    Standing,
    get_standing,
    save_standing,
)
from cluster.documents.given_vectors.faults import FaultKind, RowFault
from cluster.documents.given_vectors.given_rows import GivenRows
from cluster.documents.given_vectors.insert import (
    NOT_OF_ROWS,
    AheadOfRows,
    AskedBy,
    insert,
    require_given,
    write_ahead,
)
from cluster.documents.vector_stores.stores import VectorStore, get_store, touch_store
from cluster.errors import InvalidInput, NotFound, Permanent, Retryable, Shortage, Throttled
from cluster.jobs import attempts
from cluster.jobs.file_rows.row_progress import forget_progress
from cluster.jobs.jobs import GONE
from cluster.jobs.kinds import BULK_INSERT_VECTORS
from data_jobs.kinds.batch_size import BatchSize
from data_jobs.kinds.error_file import create_error_file, write_error_blob
from data_jobs.kinds.resources import Resources
from data_jobs.kinds.whole_blob import read_whole
from data_jobs.stages.given_vectors.row_reader import RowReader
from data_jobs.worker.job_attempt import BACKOFF, JobAttempt, NotWanted

log = structlog.get_logger(__name__)

#: Maximum number of rows of one transaction, if the cluster's Postgres holds the vectors. This number is
#: large, because each transaction needs about ten round trips, for few or many rows.
ROWS_PER_COPY = 4_000
#: Maximum number of attempts at one write. If all attempts fail, the stage fails.
WRITE_ATTEMPTS = 5
#: Rows that are new and have no texts are written with COPY, which is fast. If this number of writes could
#: not use COPY, the attempt no longer tries COPY.
MAX_MISSES = 3


@dataclass(frozen=True)
class BulkInsertVectors:
    """Runs jobs of the kind ``BULK_INSERT_VECTORS``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        with tempfile.TemporaryFile(prefix="given-vectors-") as copy:
            await _Insertion(self.resources, attempt, copy).do()


@dataclass
class _Rows:
    """Consecutive rows of the file: the rows that can be stored, and the faults of the other rows."""

    rows: GivenRows
    faults: Sequence[RowFault]

    def split(self, size: int) -> "tuple[_Rows, _Rows]":
        """Return a part with at most ``size`` rows that can be stored, and the rest of the rows."""
        if len(self.rows) <= size:
            return self, _Rows(GivenRows.joined(()), ())
        end = self.rows.numbers[size]
        before = [fault for fault in self.faults if fault.row < end]
        return _Rows(self.rows[:size], before), _Rows(self.rows[size:], self.faults[len(before) :])

    def after(self, position: int) -> "_Rows":
        """Return the rows and faults whose row number is greater than ``position``."""
        begin = bisect_right(self.rows.numbers, position)
        if begin == 0 and all(fault.row > position for fault in self.faults[:1]):
            return self
        return _Rows(self.rows[begin:], [fault for fault in self.faults if fault.row > position])

    @property
    def last(self) -> int:
        """Number of the last row or fault; 0 if there are no rows and no faults."""
        return max([*self.rows.numbers[-1:], *(fault.row for fault in self.faults[-1:])], default=0)


@dataclass
class _Insertion:
    """Runs one attempt at the job."""

    resources: Resources
    attempt: JobAttempt
    #: A copy of the file on a local disk, because Parquet is read from the end of the file. The copy has no
    #: name, so it is deleted when the worker ends. If the blob is a local file, the copy stays empty.
    copy: BinaryIO
    #: The blob, if it is a local file.
    local: BinaryIO | None = None
    #: The reader of the rows, if it runs; None before the reader starts and after the rows are read.
    reader: RowReader | None = None
    standing: Standing = field(default_factory=Standing)
    #: Number of rows of the file; None if the number is not known yet.
    total: int | None = None
    ignored: Sequence[str] = ()
    #: Number of writes that could not use COPY, because some rows were not new or had texts.
    misses: int = 0

    async def do(self) -> None:
        """Run all stages in order. At the end, close the reader and the file."""
        try:
            await self._do()
        finally:
            self._close_reader()
            if self.local is not None:
                self.local.close()

    async def _do(self) -> None:
        attempt = self.attempt
        self.store, self.file = await attempt.in_transaction(self._look_up)
        self.index = self.resources.indexes.of(self.store)
        capabilities = self.index.vectors.capabilities
        if self.index.external is None:
            capabilities = replace(capabilities, rows_per_write=ROWS_PER_COPY)
        self.batch = BatchSize(most=capabilities.rows_at_once(self.store.fingerprint.dim))
        self.approximate = ApproximateIndex(self.index, self.store.collection)
        await attempt.stage("read", partial(attempt.in_thread, self._read))
        await attempt.stage("insert", self._insert)
        await attempt.stage("index", partial(attempt.in_thread, self.approximate.build))
        await attempt.stage("report", self._report, tries=attempt.settings.index_attempts)

    def _look_up(self, connection: Connection[Any]) -> tuple[VectorStore, File]:
        job = self.attempt.job
        try:
            store = get_store(connection, job.organisation, job.input["vector_store"])
            file = get_file(connection, job.organisation, job.input["file"])
        except NotFound as exc:
            raise NotWanted(str(exc), GONE) from exc
        if store.expired:
            raise NotWanted(f"vector store {store.id} has expired", GONE)
        touch_store(connection, store)
        return require_given(store), file

    def _read(self) -> None:
        """Read the blob to its end, which checks the hash of the file, and count the lines. If the blob is a
        local file, the reader of the rows runs at the same time; otherwise make a local copy.
        """
        blobs, blob = self.resources.blobs, (self.attempt.job.organisation, self.file.sha256)
        self._close_reader()
        self.copy.seek(0)
        self.copy.truncate()
        self.local = blobs.open_local(*blob)
        if self.local is not None:
            self.reader = self._open_reader()
        lines = read_whole(blobs, *blob, None if self.local is not None else self.copy)
        self.total = lines or None

    def _open_reader(self) -> RowReader:
        return RowReader(
            self.attempt.settings,
            self.local or self.copy,
            dim=self.store.fingerprint.dim,
            rows_per_frame=self.batch.most,
        )

    def _close_reader(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    async def _insert(self) -> None:
        """Insert the rows that no earlier attempt has inserted."""
        job, attempt = self.attempt.job, self.attempt
        self.standing = await attempt.in_transaction(
            lambda connection: get_standing(connection, job.organisation, job.id)
        )
        if self.reader is None:
            self.reader = await attempt.in_thread(self._open_reader)
        reader = self.reader
        following = asyncio.ensure_future(attempt.in_thread(partial(self._next, reader)))
        try:
            while (found := await following) is not None:
                # Prepare the next rows in a thread while the database writes the current rows.
                following = asyncio.ensure_future(attempt.in_thread(partial(self._next, reader)))
                await self._insert_rows(*found)
        finally:
            reader.kill()
            await asyncio.gather(following, return_exceptions=True)
            self._close_reader()

    def _next(self, reader: RowReader) -> "tuple[_Rows, AheadOfRows | None] | None":
        """Return the next rows; None after the last rows. If the cluster's Postgres holds the vectors, also
        return the rows in the form for the insertion.
        """
        frame = reader.next()
        if frame is None:
            return None
        self.ignored, self.total = frame.ignored, frame.total or self.total
        rows = _Rows(frame.rows, frame.faults).after(self.standing.position)
        ready = None
        if self.index.external is None:
            with contextlib.suppress(InvalidInput):  # ignored, because the write raises this error
                ready = write_ahead(self.index, self.store, rows.rows)
        return rows, ready

    async def _insert_rows(self, rest: _Rows, ready: AheadOfRows | None) -> None:
        failures = 0
        while rest.last:
            part, following = rest.split(self.batch.now)
            try:
                await self._insert_part(part, ready)
            except Retryable as exc:
                failures += 1
                await self._wait(failures, exc)
            except NOT_OF_ROWS:
                raise
            except Permanent as exc:
                rest = self._smaller(part, following, exc)
            else:
                rest, failures = following, 0
                self.batch.grow()
                self.attempt.goes_on()
                await self.attempt.progress(self.standing.rows, self.total, unit="rows")

    async def _insert_part(self, part: _Rows, ready: AheadOfRows | None) -> None:
        job, store = self.attempt.job, self.store
        ahead = ready if ready is not None and ready.rows is part.rows else None
        if ahead is None:
            ahead = await self.attempt.in_thread(partial(write_ahead, self.index, store, part.rows))
        faults = sorted([*part.faults, *ahead.refused], key=lambda fault: fault.row)

        def write(connection: Connection[Any]) -> Standing:
            attempts.hold(connection, job)
            asked = AskedBy(work=f"{job.id}/{part.last}", job=job.id)
            done = insert(connection, self.index, store, ahead, asked, probably_new=self.misses < MAX_MISSES)
            self.misses += 0 if done.copied else 1
            standing = self.standing.after(part.last, done.written, faults)
            save_standing(connection, job, standing, faults)
            return standing

        try:
            self.standing = await self.attempt.in_transaction(write)
        except NotFound as exc:
            raise NotWanted(str(exc), GONE) from exc
        await self.attempt.in_thread(partial(self.approximate.wrote, len(part.rows)))

    async def _wait(self, failures: int, exc: Retryable) -> None:
        """Reduce the number of rows of a write, and wait before the next attempt at the write.

        Raises:
            Retryable: the wait is too long to keep the slot, or no attempt remains.
        """
        wait_s = BACKOFF.wait_s(failures, exc)
        throttled = isinstance(exc, Throttled)
        if isinstance(exc, Shortage) or wait_s > BACKOFF.longest_s:
            raise exc
        if failures >= WRITE_ATTEMPTS and not throttled:
            raise exc
        self.batch.shrink()
        log.warning("write_retried", attempt=failures, rows=self.batch.now, reason=str(exc))
        await self.attempt.pause(wait_s, "provider" if throttled else "retry")

    def _smaller(self, part: _Rows, following: _Rows, exc: Permanent) -> _Rows:
        """Return the rows to write after the index refused a part. If the part has a single row, the row
        becomes a fault. Otherwise the next part has half as many rows.
        """
        if len(part.rows) > 1:
            self.batch.now = max(1, len(part.rows) // 2)
            return _Rows(GivenRows.joined([part.rows, following.rows]), [*part.faults, *following.faults])
        if not len(part.rows):
            raise exc
        (number,), (id,) = part.rows.numbers, part.rows.ids
        message = f"was refused by the vector index: {exc}"
        refused = RowFault(row=number, id=id, kind=FaultKind.INDEX, message=message)
        faults = sorted([*part.faults, refused], key=lambda fault: fault.row)
        return _Rows(following.rows, [*faults, *following.faults])

    async def _report(self) -> None:
        """Make the file of the failed rows, if there are any, and end the job."""
        self.index.settle(self.store.organisation, self.store.id)
        write = partial(write_error_blob, self.resources.blobs, self.attempt)
        blob = await self.attempt.in_thread(write) if self.standing.failed else None
        await self.attempt.in_transaction(partial(self._finish, blob))

    def _finish(self, blob: Blob | None, connection: Connection[Any]) -> None:
        job, standing = self.attempt.job, self.standing
        attempts.hold(connection, job)
        error_file = None
        if blob is not None:
            settings = self.attempt.settings
            error_file = create_error_file(connection, self.resources.blobs, job, blob, settings).id
        touch_store(connection, self.store)
        found = {
            "vector_store": self.store.id,
            "file": self.file.id,
            "rows": standing.rows,
            "written": standing.written,
            "unchanged": standing.unchanged,
            "failed": sum(standing.failed.values()),
            "failures": {
                kind: {"rows": rows, "first_rows": list(standing.first_failed[kind])}
                for kind, rows in standing.failed.items()
            },
            "error_file": error_file,
            "ignored_fields": list(self.ignored),
        }
        forget_progress(connection, job.organisation, job.id)
        attempts.finish(connection, job, result={name: found[name] for name in BULK_INSERT_VECTORS.result})
