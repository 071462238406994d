"""Index the files of a vector store again, after the store's ``chunking_strategy`` or ``ocr`` changed.

Each file gets a job of its own, and searches find the old chunks of a file until the file's job ends. The job
of the store does not wait for the jobs of the files, because a waiting job would hold a slot that those jobs
need.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.documents.vector_stores.ingesting import FILES_PER_TRANSACTION, ensure_batch
from cluster.documents.vector_stores.rechunking import attach_again, next_files
from cluster.documents.vector_stores.stores import VectorStore, get_store
from cluster.errors import NotFound
from cluster.jobs import attempts
from cluster.jobs.jobs import GONE
from cluster.jobs.kinds import RECHUNK_STORE
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt, NotWanted


@dataclass(frozen=True)
class RechunkStore:
    """Runs jobs of the kind ``RECHUNK_STORE``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        await attempt.stage("attach", partial(self._attach, attempt), tries=attempt.settings.index_attempts)

    async def _attach(self, attempt: JobAttempt) -> None:
        done, after = 0, ""
        while some := await attempt.in_transaction(partial(self._some, attempt, after)):
            done, after = done + len(some), some[-1]
            attempt.goes_on()
            await attempt.progress(done, unit="files")
            if len(some) < FILES_PER_TRANSACTION:
                break
        await attempt.in_transaction(partial(self._finish, attempt, done))

    def _some(self, attempt: JobAttempt, after: str, connection: Connection[Any]) -> list[str]:
        """Attach the next files again, and return their ids; an empty list means that no file remains."""
        job, store = attempt.job, _store(attempt, connection)
        # Jobs that an earlier version queued do not name the changed option.
        changed = job.input.get("changed", ["chunking_strategy"])
        files = next_files(connection, store, changed=changed, after=after)
        attach_again(
            connection,
            store,
            files,
            batch=ensure_batch(connection, store, job.id),
            priority_class=job.priority_class,
            priority=job.priority,
            attempts=attempt.settings.job_attempts,
        )
        attempts.hold(connection, job)  # locked after the rows of the files, as when files are attached
        return [file.file for file in files]

    def _finish(self, attempt: JobAttempt, done: int, connection: Connection[Any]) -> None:
        store = _store(attempt, connection)
        found = {
            "vector_store": store.id,
            "file_batch": ensure_batch(connection, store, attempt.job.id),
            "files": done,
        }
        attempts.finish(connection, attempt.job, result={name: found[name] for name in RECHUNK_STORE.result})


def _store(attempt: JobAttempt, connection: Connection[Any]) -> VectorStore:
    """Return the store of the job.

    Raises:
        NotWanted: the vector store does not exist.
    """
    try:
        return get_store(connection, attempt.job.organisation, attempt.job.input["vector_store"])
    except NotFound as exc:
        raise NotWanted(str(exc), GONE) from exc
