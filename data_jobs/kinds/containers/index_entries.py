"""Unpack an attached container, attach its entries, and wait until their jobs have ended.

The job ``index_file`` calls this module for archives and for e-mails with attachments.

    entries = Entries(resources=resources, attempt=attempt, store=store, attached=attached, file=file)
    counts = await entries.index(read, pipeline_version)     # None: the file has no entries

The entries of a container are stored once, and later attempts use the stored entries. While the jobs of the
entries run, the container's job gives its slot back, because those jobs need the slot.
"""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, BinaryIO

from psycopg import Connection

from cluster.documents.containers.container_entries import (
    ENTRIES_PER_TRANSACTION,
    EntryCounts,
    NewEntry,
    add_entries,
    attach_entries,
    count_entries,
    is_unpacked,
    mark_unpacked,
)
from cluster.documents.containers.membership import lock_entries
from cluster.documents.files import File
from cluster.documents.vector_stores import store_files
from cluster.documents.vector_stores.store_files import StoreFile
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import Throttled
from cluster.jobs import attempts
from cluster.jobs.jobs import CANCELLED, CANCELLED_BECAUSE, GONE
from cluster.organisations.caller import Caller, CallerKind, acting_as
from cluster.organisations.organisations import StorageLimits
from cluster.records import Outcome
from data_jobs.kinds.resources import Resources
from data_jobs.stages.containers.entry_frames import BadFrames, UnpackedEntry, read_entries
from data_jobs.stages.containers.limits import entry_limits, unpacking_version
from data_jobs.worker.job_attempt import JobAttempt, NotWanted
from data_jobs.worker.stage_errors import StageFailed, TryLater

#: Error codes of a container whose entries are being indexed, and of a container whose entries do not fit
#: into the storage limits of the organisation.
WAITS_FOR_ENTRIES, STORAGE_LIMIT = "waits_for_entries", "storage_limit"
#: The job gives its slot back for ``PAUSE_SHARE`` of the time since its submission, but for at least
#: ``MIN_PAUSE_S`` and at most ``MAX_PAUSE_S`` seconds.
PAUSE_SHARE, MIN_PAUSE_S, MAX_PAUSE_S = 0.1, 1.0, 15.0
#: Name of the stage that unpacks. Errors about the entries as a whole name this stage, too.
UNPACK = "unpack"


@dataclass(frozen=True, kw_only=True)
class Entries:
    """Unpacks, attaches and counts the entries of one attached container, in one attempt at its job."""

    resources: Resources
    attempt: JobAttempt
    store: VectorStore
    attached: StoreFile
    file: File

    async def index(self, read: Callable[[], bytes], pipeline_version: str) -> EntryCounts | None:
        """Store and attach the entries. If all of their jobs have ended, return the numbers of the entries by
        status. Return None for a container without entries.

        Args:
            read: returns the bytes of the container.
            pipeline_version: version of the pipeline with which the jobs of the entries would index.

        Raises:
            StageFailed: the container cannot be unpacked, its entries exceed a storage limit of the
                organisation, or a stage has used up its attempts.
            TryLater: entries are still being indexed, or a stage has to wait long. The job gives its slot
                back.
            NotWanted: see ``hold``.
        """
        attempt = self.attempt
        version = unpacking_version(attempt.settings)
        if not await attempt.in_transaction(partial(is_unpacked, container=self.file, version=version)):
            await attempt.stage(
                UNPACK, partial(self._unpack, read, version), tries=attempt.settings.index_attempts
            )
        return await attempt.stage(
            "entries", partial(self._attach, pipeline_version), tries=attempt.settings.index_attempts
        )

    async def _unpack(self, read: Callable[[], bytes], version: str) -> None:
        attempt, limits = self.attempt, entry_limits(self.attempt.settings)
        data = await attempt.in_thread(read)
        with tempfile.TemporaryFile() as into:
            fault = await self.resources.parsers.unpack(
                data,
                name=self.file.filename,
                rank=attempt.job.priority_class.rank,
                limits=limits,
                into=into,
                on_begin=attempt.goes_on,
            )
            del data
            if fault is not None:
                outcome, detail = fault
                raise StageFailed(UNPACK, detail, outcome)
            attempt.goes_on()
            try:
                await self._store(into, version, max_entry_bytes=limits.entry_bytes)
            except BadFrames as exc:
                error = f"made its reader give an invalid result ({exc})"
                raise StageFailed(UNPACK, error, Outcome.CORRUPT) from exc
            except Throttled as exc:  # a storage limit; no retry, because files are perhaps never deleted
                raise StageFailed(UNPACK, str(exc), STORAGE_LIMIT) from exc

    async def _store(self, into: BinaryIO, version: str, *, max_entry_bytes: int) -> None:
        """Store the entries that the parsing process wrote into the file, at most ``ENTRIES_PER_TRANSACTION``
        in each transaction.

        Raises:
            BadFrames: the file does not have the expected form.
            StageFailed: the last frame of the file says that the container could not be read.
            Throttled: the organisation would exceed a storage limit.
        """
        attempt, number, some = self.attempt, 0, list[NewEntry]()
        frames = read_entries(into, max_entry_bytes=max_entry_bytes)
        while (frame := await attempt.in_thread(partial(next, frames))).path:
            some.append(await attempt.in_thread(partial(self._new_entry, number, frame)))
            number += 1
            if len(some) == ENTRIES_PER_TRANSACTION:
                await attempt.in_transaction(partial(self._add, some))
                some = []
                attempt.goes_on()
                await attempt.progress(number, None, unit="entries")
        if frame.outcome is not Outcome.OK:
            raise StageFailed(UNPACK, frame.detail, frame.outcome)

        def finish(connection: Connection[Any]) -> None:
            self._add(some, connection)
            mark_unpacked(connection, self.file, version, total=number)

        await attempt.in_transaction(finish)

    def _new_entry(self, number: int, frame: UnpackedEntry) -> NewEntry:
        blob = None
        if frame.outcome is Outcome.OK:
            with self.resources.blobs.writer(self.file.organisation) as writer:
                writer.write(frame.data)
                blob = writer.commit()
        return NewEntry(
            number=number,
            path=frame.path,
            blob=blob,
            media_type=frame.media_type,
            outcome=frame.outcome,
            detail=frame.detail,
        )

    def _add(self, some: list[NewEntry], connection: Connection[Any]) -> None:
        lock_entries(connection, self.file.organisation)
        self.hold(connection)
        limits = StorageLimits.of(self.attempt.settings)
        with self._for_key():
            add_entries(connection, self.resources.blobs, self.file, some, default_limits=limits)
        attempts.hold(connection, self.attempt.job)

    async def _attach(self, pipeline_version: str) -> EntryCounts | None:
        attempt = self.attempt
        while await attempt.in_transaction(partial(self._attach_some, pipeline_version)):
            attempt.goes_on()
        counts = await attempt.in_transaction(self._count)
        if counts is None or not counts.in_progress:
            return counts
        readable = counts.total - counts.left_out
        await attempt.progress(readable - counts.in_progress, readable, unit="entries", now=True)
        age_s = (datetime.now(UTC) - attempt.job.created_at).total_seconds()
        pause_s = min(max(age_s * PAUSE_SHARE, MIN_PAUSE_S), MAX_PAUSE_S)
        because = f"{counts.in_progress:,} of {readable:,} entries are being indexed"
        run_at = datetime.now(UTC) + timedelta(seconds=pause_s)
        raise TryLater(run_at, because, WAITS_FOR_ENTRIES, counts=False)

    def _attach_some(self, pipeline_version: str, connection: Connection[Any]) -> int:
        job = self.attempt.job
        lock_entries(connection, self.file.organisation)
        container = self.hold(connection)
        with self._for_key():
            attached = attach_entries(
                connection,
                self.store,
                container,
                pipeline_version=pipeline_version,
                before=job.created_at,
                priority_class=job.priority_class,
                priority=job.priority,
                attempts=self.attempt.settings.job_attempts,
            )
        # Lock the job after the rows of the files, because attaching and detaching use the same order.
        # Another order could cause a deadlock.
        if attempts.hold(connection, job).cancel_asked:  # the jobs of earlier entries are cancelled by now
            raise NotWanted(CANCELLED_BECAUSE, CANCELLED)
        return attached

    def _for_key(self) -> AbstractContextManager[None]:
        """Act for the API key that attached the container. The files and the jobs of the entries then count
        for this key, as the container itself does.
        """
        job = self.attempt.job
        if job.key is None:
            return nullcontext()
        return acting_as(Caller(kind=CallerKind.KEY, id=job.key, organisation=job.organisation))

    def _count(self, connection: Connection[Any]) -> EntryCounts | None:
        file = self.file
        return count_entries(connection, file.organisation, self.store.id, [file.id]).get(file.id)

    def hold(self, connection: Connection[Any]) -> StoreFile:
        """Lock the attached container, and return it.

        Raises:
            NotWanted: the container was detached or attached again, or the vector store was deleted.
        """
        job, file = self.attempt.job, self.file
        attached = store_files.hold(connection, job.organisation, self.store.id, file.id, job.id)
        if attached is None:
            raise NotWanted(
                f"file {file.id} is no longer attached to vector store {self.store.id} by this job", GONE
            )
        return attached
