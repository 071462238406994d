"""The job that imports a file of events: read, import, report.

Each transaction stores some events and records the progress of the job. So a job whose worker was killed
continues after the last recorded row, and each row is counted only once. If a row is wrong, the other rows
are still imported. The result has the numbers of the rows, and an error file lists all wrong rows.
"""

import asyncio
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, BinaryIO

from psycopg import Connection

from cluster.blobs import Blob
from cluster.documents.files import File, get_file
from cluster.errors import NotFound
from cluster.jobs import attempts
from cluster.jobs.file_rows.row_progress import forget_progress, get_progress, save_progress
from cluster.jobs.jobs import GONE
from cluster.jobs.kinds import IMPORT_EVENTS
from cluster.platform_data.ingestion import ingest_rows
from cluster.platform_data.read_events import EventFault
from data_jobs.kinds.error_file import create_error_file, write_error_blob
from data_jobs.kinds.resources import Resources
from data_jobs.kinds.whole_blob import read_whole
from data_jobs.stages.events.event_frames import EventFrame
from data_jobs.stages.events.event_reader import EventReader
from data_jobs.worker.job_attempt import JobAttempt, NotWanted

#: Error code of a job that found more wrong rows than its input permits.
TOO_MANY_FAILED_ROWS = "too_many_failed_rows"


@dataclass(frozen=True)
class ImportEvents:
    """Runs jobs of the kind ``IMPORT_EVENTS``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        with tempfile.TemporaryFile(prefix="events-") as copy:
            await _Import(self.resources, attempt, copy).do()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counts:
    """Numbers of rows. ``accepted``, ``duplicates`` and ``failed`` add up to ``rows``."""

    rows: int = 0
    #: Number of rows with a new event.
    accepted: int = 0
    #: Number of rows whose source and id were known already.
    duplicates: int = 0
    #: Number of wrong rows, and of rows about a customer who was erased.
    failed: int = 0

    def after(self, frame: EventFrame, accepted: int, faults: int) -> "_Counts":
        """Return the numbers after the rows of the frame."""
        return _Counts(
            rows=self.rows + frame.rows,
            accepted=self.accepted + accepted,
            duplicates=self.duplicates + frame.rows - accepted - faults,
            failed=self.failed + faults,
        )


class _Import:
    """Runs one attempt at the job.

    Args:
        copy: an empty file without a name, which is deleted when the worker ends. If the blob is not a local
            file, a copy of the blob is written into this file.
    """

    def __init__(self, resources: Resources, attempt: JobAttempt, copy: BinaryIO) -> None:
        self._resources, self._attempt, self._copy = resources, attempt, copy
        self._input = attempt.job.input
        self._position, self._counts = 0, _Counts()
        self._ignored: list[str] = []

    async def do(self) -> None:
        """Run all stages in order."""
        attempt = self._attempt
        self._file = await attempt.in_transaction(self._look_up)
        await attempt.stage("read", partial(attempt.in_thread, self._read))
        await attempt.stage("import", self._import)
        await attempt.stage("report", self._report, tries=attempt.settings.index_attempts)

    @property
    def _too_many_failed(self) -> bool:
        return self._counts.failed > int(self._input["max_failed_rows"])

    def _look_up(self, connection: Connection[Any]) -> File:
        try:
            return get_file(connection, self._attempt.job.organisation, self._input["file"])
        except NotFound as exc:
            raise NotWanted(str(exc), GONE) from exc

    def _read(self) -> None:
        """Read the blob to its end, and copy it if it is not a local file."""
        blobs, blob = self._resources.blobs, (self._attempt.job.organisation, self._file.sha256)
        self._copy.seek(0)
        self._copy.truncate()
        local = blobs.open_local(*blob)
        if local is not None:
            local.close()
        read_whole(blobs, *blob, None if local is not None else self._copy)

    async def _import(self) -> None:
        """Import the rows that no earlier attempt has imported, until too many rows are wrong."""
        job, attempt = self._attempt.job, self._attempt
        self._position, saved = await attempt.in_transaction(
            lambda connection: get_progress(connection, job.organisation, job.id)
        )
        self._counts = _Counts(**saved)
        local = self._resources.blobs.open_local(job.organisation, self._file.sha256)
        try:
            reader = await attempt.in_thread(partial(self._open_reader, local or self._copy))
            await self._import_frames(reader)
        finally:
            if local is not None:
                local.close()

    def _open_reader(self, file: BinaryIO) -> EventReader:
        job = self._attempt.job
        return EventReader(
            self._attempt.settings,
            file,
            organisation=job.organisation,
            source=self._input["source"],
            after=self._position,
        )

    async def _import_frames(self, reader: EventReader) -> None:
        attempt = self._attempt
        following = asyncio.ensure_future(attempt.in_thread(reader.next))
        try:
            while not self._too_many_failed and (frame := await following) is not None:
                # The process checks the next rows while the database stores the current rows.
                following = asyncio.ensure_future(attempt.in_thread(reader.next))
                await attempt.in_transaction(partial(self._store, frame))
                self._ignored = list(frame.ignored)
                attempt.goes_on()
                await attempt.progress(self._counts.rows, frame.total, unit=IMPORT_EVENTS.unit)
        finally:
            reader.kill()
            await asyncio.gather(following, return_exceptions=True)
            reader.close()

    def _store(self, frame: EventFrame, connection: Connection[Any]) -> None:
        job = self._attempt.job
        attempts.hold(connection, job)
        accepted, refused = ingest_rows(connection, job.organisation, [frame.csv]) if frame.csv else (0, [])
        faults = sorted([*frame.faults, *refused], key=lambda fault: fault.index)
        counts = self._counts.after(frame, accepted, len(faults))
        save_progress(connection, job, frame.last, asdict(counts), list(map(_error_line, faults)))
        self._position, self._counts = frame.last, counts

    async def _report(self) -> None:
        """Make the file of the wrong rows, if there are any, and end the job."""
        attempt = self._attempt
        await attempt.progress(self._counts.rows, self._counts.rows, unit=IMPORT_EVENTS.unit, now=True)
        write = partial(write_error_blob, self._resources.blobs, attempt)
        blob = await attempt.in_thread(write) if self._counts.failed else None
        await attempt.in_transaction(partial(self._finish, blob))

    def _finish(self, blob: Blob | None, connection: Connection[Any]) -> None:
        job, counts, settings = self._attempt.job, self._counts, self._attempt.settings
        attempts.hold(connection, job)
        error_file = None
        if blob is not None:
            error_file = create_error_file(connection, self._resources.blobs, job, blob, settings).id
        found = {
            **asdict(counts),
            "file": self._file.id,
            "max_failed_rows": self._input["max_failed_rows"],
            "error_file": error_file,
            "ignored_columns": self._ignored,
        }
        result = {name: found[name] for name in IMPORT_EVENTS.result}
        forget_progress(connection, job.organisation, job.id)
        if self._too_many_failed:
            attempts.fail(
                connection, job, self._too_many(error_file), code=TOO_MANY_FAILED_ROWS, result=result
            )
        else:
            attempts.finish(connection, job, result=result)

    def _too_many(self, error_file: str | None) -> str:
        return (
            f"{self._counts.failed:,} of the first {self._counts.rows:,} rows are wrong, and max_failed_rows "
            f"is {self._input['max_failed_rows']:,}; the file {error_file} names the wrong rows. Correct "
            "them, and import the corrected file: events that are stored already count as duplicates"
        )


def _error_line(fault: EventFault) -> dict[str, Any]:
    return {"row": fault.index, "id": fault.id, "field": fault.field, "message": fault.message}
