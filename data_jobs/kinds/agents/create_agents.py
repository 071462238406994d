"""The job that creates agents in bulk: plan, attach, index, create.

The files of the agents have jobs of their own. While they are indexed, this job waits in its slot for
a few seconds only, and then gives the slot back and continues later. Each transaction leaves rows from which
a later attempt continues, so a killed worker loses nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.agents import imports
from cluster.agents.imports import RowFiles
from cluster.agents.knowledge import NewStores, attach, lock, release
from cluster.documents.files import release_blobs
from cluster.engines.registry import Registry, describe
from cluster.jobs import attempts
from cluster.jobs.kinds import CREATE_AGENTS
from cluster.vector_index.collections import collection_name
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt, transaction
from data_jobs.worker.stage_errors import TryLater

#: Error codes: of a job some of whose agents cannot be created, and of a job that waits
#: for its files.
AGENTS_FAILED, WAITS_FOR_FILES = "agents_failed", "waits_for_files"
#: Number of agents that one transaction attaches or saves.
AGENTS_PER_TRANSACTION = 200
#: Seconds that the job keeps its slot while it waits for files, and seconds between two checks of
#: the files.
KEEPS_SLOT_S, LOOK_INTERVAL_S = 3.0, 0.5
#: The job gives its slot back for ``PAUSE_SHARE`` of the time since its submission, but for at least
#: ``MIN_PAUSE_S`` and at most ``MAX_PAUSE_S`` seconds.
PAUSE_SHARE, MIN_PAUSE_S, MAX_PAUSE_S = 0.1, 1.0, 15.0


@dataclass(frozen=True)
class CreateAgents:
    """Runs jobs of the kind ``CREATE_AGENTS``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        await _Creation(self.resources, attempt).do()


class _Creation:
    """Runs one attempt at the job."""

    def __init__(self, resources: Resources, attempt: JobAttempt) -> None:
        self._resources, self._attempt = resources, attempt
        self._atomic = attempt.job.input["mode"] == "atomic"

    async def do(self) -> None:
        """Run all stages in order."""
        attempt = self._attempt
        tries = attempt.settings.index_attempts
        new = await attempt.in_thread(self._new_stores)
        await attempt.stage("plan", partial(attempt.in_transaction, partial(self._plan, new)), tries=tries)
        await attempt.stage("attach", self._attach, tries=tries)
        await attempt.stage("index", self._index, tries=tries)
        await attempt.stage("create", self._create, tries=tries)

    def _new_stores(self) -> NewStores:
        """Choose the model and the index of new stores, and make the collection of their vectors."""
        fingerprint = describe(Registry(self._attempt.settings).default)
        index = self._resources.indexes.chosen(None)
        index.ensure(collection_name(fingerprint), dim=fingerprint.dim)
        return NewStores(fingerprint=fingerprint, index=index.name)

    def _plan(self, new: NewStores, connection: Connection[Any]) -> None:
        imports.plan_rows(connection, self._attempt.job, new=new)
        attempts.hold(connection, self._attempt.job)

    async def _attach(self) -> None:
        after: int | None = 0
        while after is not None:
            after = await self._attempt.in_transaction(partial(self._attach_some, after))
            self._attempt.goes_on()

    def _attach_some(self, after: int, connection: Connection[Any]) -> int | None:
        """Attach the files of the next agents. Return the number of the last agent; None if no agent
        is left.
        """
        job = self._attempt.job
        rows = imports.open_rows(connection, job, after=after, limit=AGENTS_PER_TRANSACTION)
        if not rows:
            return None
        attach(
            connection,
            job.organisation,
            [row.knowledge or {} for row in rows],
            before=job.created_at,
            priority_class=job.priority_class,
            priority=job.priority,
            attempts=self._attempt.settings.job_attempts,
        )
        # Lock the job after the rows of the files, because attaching and detaching lock in this order, too.
        # Another order could end in a deadlock.
        attempts.hold(connection, job)
        return rows[-1].number

    async def _index(self) -> None:
        """Wait until no file is being indexed. In the mode ``partial``, save each agent when its files are
        indexed, or record why it failed.

        Raises:
            TryLater: files are still being indexed, and the job gives its slot back.
        """
        attempt, looks = self._attempt, int(KEEPS_SLOT_S / LOOK_INTERVAL_S)
        for look in range(looks + 1):
            rows = await attempt.in_transaction(partial(imports.row_files, job=attempt.job))
            waiting = [row for row in rows if not row.done]
            if not self._atomic:
                await self._save([row for row in rows if row.done])
            total: int = attempt.job.input["agents"]
            done = total - (len(waiting) if not self._atomic else len(rows))
            await attempt.progress(done, total, unit=CREATE_AGENTS.unit, now=True)
            if not waiting:
                return
            if look < looks:
                await asyncio.sleep(LOOK_INTERVAL_S)
                attempt.goes_on()
        files = sum(row.files - row.completed - row.failed for row in waiting)
        age_s = (datetime.now(UTC) - attempt.job.created_at).total_seconds()
        pause_s = min(max(age_s * PAUSE_SHARE, MIN_PAUSE_S), MAX_PAUSE_S)
        because = f"{len(waiting):,} agents wait for {files:,} files that are being indexed"
        run_at = datetime.now(UTC) + timedelta(seconds=pause_s)
        raise TryLater(run_at, because, WAITS_FOR_FILES, counts=False)

    async def _create(self) -> None:
        """End the job. In the mode ``atomic``, save all agents before, or none if a file failed."""
        if self._atomic:
            rows = await self._attempt.in_transaction(partial(imports.row_files, job=self._attempt.job))
            if any(row.failed for row in rows):
                await self._attempt.in_transaction(partial(self._fail_all, rows))
        await self._end()

    async def _save(self, rows: Sequence[RowFiles]) -> None:
        """Save the agents of these rows whose files are all indexed. Record why the others failed."""
        for first in range(0, len(rows), AGENTS_PER_TRANSACTION):
            some = rows[first : first + AGENTS_PER_TRANSACTION]
            await self._attempt.in_transaction(partial(self._save_some, some))
            self._attempt.goes_on()

    def _save_some(self, rows: Sequence[RowFiles], connection: Connection[Any]) -> None:
        job = self._attempt.job
        lock(connection, job.organisation)
        attempts.hold(connection, job)
        good = {row.number for row in rows if not row.failed}
        imports.fail_rows(connection, job, {row.number: _why(row) for row in rows if row.failed})
        found = imports.open_rows(connection, job, after=rows[0].number - 1, limit=None)
        imports.save_rows(connection, job, [row for row in found if row.number in good])

    def _fail_all(self, rows: Sequence[RowFiles], connection: Connection[Any]) -> None:
        """Record that no agent is created."""
        attempts.hold(connection, self._attempt.job)
        errors = {row.number: _why(row) if row.failed else None for row in rows}
        imports.fail_rows(connection, self._attempt.job, errors)

    async def _end(self) -> None:
        """End the job, and delete the stores and files of agents that no agent uses."""
        attempt = self._attempt
        hashes = await attempt.in_transaction(self._finish)

        def delete_blobs() -> None:
            with transaction(attempt.pool, lease_s=attempt.settings.lease_s) as connection:
                release_blobs(connection, self._resources.blobs, attempt.job.organisation, hashes)

        await attempt.in_thread(delete_blobs)

    def _finish(self, connection: Connection[Any]) -> list[str]:
        job = self._attempt.job
        lock(connection, job.organisation)
        if self._atomic:
            imports.save_rows(connection, job, imports.open_rows(connection, job))
        hashes = release(connection, job.organisation)
        attempts.hold(connection, job)
        found = {"mode": job.input["mode"], **imports.summary(connection, job.organisation, job.id)}
        result = {name: found[name] for name in CREATE_AGENTS.result}
        if self._atomic and found["failed"]:
            attempts.fail(connection, job, _failure(found), code=AGENTS_FAILED, result=result)
        else:
            attempts.finish(connection, job, result=result)
        return hashes


def _why(row: RowFiles) -> str:
    others = f", and {row.failed - 1:,} other files" if row.failed > 1 else ""
    return f"{row.error}{others}"


def _failure(found: dict[str, Any]) -> str:
    return (
        f"nothing was changed, because not every agent can be created: {found['failures'][0]['error']}. "
        "The result names the failed agents. Correct the file, or use the mode partial"
    )
