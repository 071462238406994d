"""Embed the chunks of one job with the model of a replica, in calls of at most ``CHUNKS_PER_CALL`` chunks.

vectors = await embed_chunks(attempt, resources, ids, fingerprint=store.fingerprint)  # (n, dim) float32
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cluster.engines.contract import Fingerprint
from cluster.usage.events import EMBEDDING
from data_jobs.kinds.resources import Resources
from data_jobs.stages import process_resources
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.document_row import DocumentRow
from data_jobs.worker.budget_hold import BudgetHold
from data_jobs.worker.chunk_embedder import Ids
from data_jobs.worker.job_attempt import JobAttempt

#: Maximum number of chunks in one call to the model. This number is large enough to fill a batch of the
#: model, and small enough for cheap retries and steady progress.
CHUNKS_PER_CALL = 32
#: Maximum number of concurrent calls of a job. This number is large enough to keep the model busy, and so
#: small that other jobs do not wait long.
CALLS_AT_ONCE = 2
#: If a call takes longer than this many seconds, the job reports that it waits for the model.
FAST_ANSWER_S = 2.0


async def embed_chunks(
    attempt: JobAttempt, resources: Resources, ids: Ids, *, fingerprint: Fingerprint
) -> NDArray[np.float32]:
    """Return the vectors of the chunks, (n, dim) float32. The model may put chunks of several jobs into one
    batch.

    Args:
        attempt: receives the progress, and repeats a call while the model is overloaded or its provider does
            not answer.
        resources: ``embed`` calls the replica with the model.
        ids: token ids of each chunk, without special tokens.
        fingerprint: the fingerprint of the store's model.
    """
    (prompt,) = process_resources.tokeniser(attempt.settings, fingerprint).ids([fingerprint.document_prompt])
    if len(prompt):
        ids = [np.concatenate([prompt, one]) for one in ids]
    vectors = np.empty((len(ids), fingerprint.dim), dtype=np.float32)
    calls = asyncio.Semaphore(CALLS_AT_ONCE)
    done = 0

    async def report_wait() -> None:
        await attempt.progress(done, len(ids), unit="chunks", waits_for="gpu", now=True)

    async def call(first: int) -> None:
        nonlocal done
        async with calls:
            part = ids[first : first + CHUNKS_PER_CALL]
            vectors[first : first + len(part)] = await attempt.answer(
                partial(_answer, attempt, resources, part, fingerprint.id, report_wait)
            )
        done += len(part)
        attempt.goes_on()
        await attempt.progress(done, len(ids), unit="chunks")

    # Do not use a TaskGroup, because before Python 3.13 a failed task of the group leaves the current task
    # marked as cancelled.
    tasks = [asyncio.create_task(call(first)) for first in range(0, len(ids), CHUNKS_PER_CALL)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await attempt.progress(len(ids), len(ids), unit="chunks", now=True)
    return vectors


async def _answer(
    attempt: JobAttempt,
    resources: Resources,
    ids: Ids,
    fingerprint: str,
    report_wait: Callable[[], Awaitable[None]],
) -> NDArray[np.float32]:
    """Return the model's answer. Report the wait if the answer takes longer than ``FAST_ANSWER_S``."""
    answer = asyncio.ensure_future(
        resources.embed(
            ids, fingerprint=fingerprint, organisation=attempt.job.organisation, urgent=attempt.urgent
        )
    )
    try:
        await asyncio.wait([answer], timeout=FAST_ANSWER_S)
        if not answer.done():
            await report_wait()
        return await answer
    finally:
        answer.cancel()


async def chunked_row(
    attempt: JobAttempt, resources: Resources, hold: BudgetHold, chunk: Chunk, row: DocumentRow
) -> DocumentRow:
    """Return the row with its chunks. If the chunker needs vectors, reserve their tokens in the budgets, and
    compute them.
    """
    model = chunk.fingerprint
    prepared = await attempt.in_thread(partial(chunk.prepare, row))
    vectors = np.empty((0, model.dim), dtype=np.float32)
    if prepared.inputs:
        special = process_resources.special_tokens(attempt.settings, model)
        tokens = sum(len(ids) + special for ids in prepared.inputs)
        await hold.reserve({(EMBEDDING, model.model): tokens})
        vectors = await embed_chunks(attempt, resources, prepared.inputs, fingerprint=model)
    return await attempt.in_thread(partial(chunk.finish, row, prepared, vectors))
