"""The job that attaches many uploaded files to a vector store; each file then has a job of its own.

This job does not wait for the jobs of the files, because a waiting job would hold a slot that those jobs
need. The result of this job names the file batch, which shows how many files are in each state.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.documents.vector_stores.ingesting import (
    FILES_PER_TRANSACTION,
    attach_new,
    count_members,
    ensure_batch,
    next_documents,
)
from cluster.documents.vector_stores.stores import get_store
from cluster.errors import NotFound
from cluster.jobs import attempts
from cluster.jobs.jobs import GONE
from cluster.jobs.kinds import INGEST_FILES
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt, NotWanted

#: Fields of the input that every attached file gets. Jobs that an earlier version queued lack some of them.
OPTIONS = ("attributes", "chunking_strategy", "ocr", "ocr_languages")


@dataclass(frozen=True)
class IngestFiles:
    """Runs jobs of the kind ``INGEST_FILES``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        await attempt.stage("attach", partial(self._attach, attempt), tries=attempt.settings.index_attempts)

    async def _attach(self, attempt: JobAttempt) -> None:
        asked: list[str] | None = attempt.job.input["files"]
        total, done, after = None if asked is None else len(asked), 0, ""
        while some := await attempt.in_transaction(partial(self._some, attempt, after)):
            done, after = done + len(some), some[-1]
            attempt.goes_on()
            await attempt.progress(done, total, unit="files")
            if len(some) < FILES_PER_TRANSACTION:
                break
        await attempt.in_transaction(partial(self._finish, attempt, done))

    def _some(self, attempt: JobAttempt, after: str, connection: Connection[Any]) -> list[str]:
        """Attach the next files that are not attached yet. Return the ids of all next files, attached before
        or not; an empty list means that no file remains.

        Raises:
            NotWanted: the vector store does not exist.
        """
        job, asked = attempt.job, attempt.job.input
        try:
            store = get_store(connection, job.organisation, asked["vector_store"])
        except NotFound as exc:
            raise NotWanted(str(exc), GONE) from exc
        files = next_documents(connection, job.organisation, files=asked["files"], after=after)
        attach_new(
            connection,
            store,
            files,
            batch=ensure_batch(connection, store, job.id),
            options={name: asked.get(name) for name in OPTIONS},
            priority_class=job.priority_class,
            priority=job.priority,
            attempts=attempt.settings.job_attempts,
        )
        # Lock the job after the rows of the files. Attaching and detaching use the same order, so no deadlock
        # occurs.
        attempts.hold(connection, job)
        return files

    def _finish(self, attempt: JobAttempt, done: int, connection: Connection[Any]) -> None:
        job, asked = attempt.job, attempt.job.input
        store = get_store(connection, job.organisation, asked["vector_store"])
        batch = ensure_batch(connection, store, job.id)
        attached = count_members(connection, store, batch)
        found = {
            "vector_store": store.id,
            "file_batch": batch,
            "files": done,
            "attached": attached,
            "already_attached": done - attached,
            "left_out": len(asked["files"]) - done if asked["files"] is not None else 0,
        }
        attempts.finish(connection, job, result={name: found[name] for name in INGEST_FILES.result})
