"""Analyse the selected customers' messages that have no analysis yet, in pages of messages.

The code of the part ``sentiment`` of profiles calls ``analyse_messages``. Replicas of the model compute the
vectors. While one page is embedded, other pages are read, scored and written.

    counts = await analyse_messages(attempt, resources, selection, stage)     # {"analysed": 950, ...}
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.jobs import attempts
from cluster.profiles.messages.analyses import PendingMessage, read_pending, write_analyses
from cluster.profiles.selection import Selection, select_customers
from cluster.records import digest
from cluster.usage.events import EMBEDDING, UsageEvent, UsageSource, event_id, record_usage
from data_jobs.kinds.profiles import profile_part
from data_jobs.kinds.profiles.profile_part import PartCounts
from data_jobs.kinds.resources import Resources
from data_jobs.stages.messages.analyse import AnalyseMessages
from data_jobs.worker.chunk_embedder import Ids
from data_jobs.worker.job_attempt import JobAttempt

#: Maximum number of messages in a page. One transaction reads a page, and another transaction writes the
#: analyses of the page.
MESSAGES_PER_PAGE = 1_024
#: Number of messages in one call to the model. Messages are short, so this number is greater than the
#: number of chunks in a call.
MESSAGES_PER_CALL = 128
#: Maximum number of pages that are processed at the same time. Two pages keep the model busy while a third
#: page is written.
PAGES_AT_ONCE = 3


@dataclass
class _Totals:
    """Counts what the job has done so far, and keeps the errors of pages."""

    messages: int = 0
    analysed: int = 0
    tokens: int = 0
    failure: list[BaseException] = field(default_factory=list)


async def analyse_messages(
    attempt: JobAttempt, resources: Resources, selection: Selection, stage: AnalyseMessages
) -> PartCounts:
    """Analyse every message of the selected customers that has no analysis, and write the analyses.

    Returns:
        ``analysed``: number of written analyses; ``tokens``: number of tokens that the model read.
    """
    totals, slots = _Totals(), asyncio.Semaphore(PAGES_AT_ONCE)
    running: set[asyncio.Task[None]] = set()

    async def work(page: Sequence[PendingMessage]) -> None:
        try:
            await _one_page(attempt, resources, selection, stage, page, totals)
        except Exception as exc:  # noqa: BLE001  raised below, as the error of the stage
            totals.failure.append(exc)
        finally:
            slots.release()

    try:
        async for page in _pages(attempt, selection, stage):
            await slots.acquire()
            if totals.failure:
                break
            running.add(task := asyncio.create_task(work(page)))
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
    finally:
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if totals.failure:
        raise totals.failure[0]
    return {"analysed": totals.analysed, "tokens": totals.tokens}


async def _pages(
    attempt: JobAttempt, selection: Selection, stage: AnalyseMessages
) -> AsyncIterator[list[PendingMessage]]:
    """Yield pages of messages without an analysis. Each page has messages of at most ``CUSTOMERS_AT_ONCE``
    customers.
    """
    customer = ""
    while True:
        customers = await attempt.in_transaction(
            partial(
                select_customers, selection=selection, after=customer, limit=profile_part.CUSTOMERS_AT_ONCE
            )
        )
        after = ""
        while customers:
            page = await attempt.in_transaction(
                partial(
                    read_pending,
                    selection=selection,
                    customers=customers,
                    key=stage.key,
                    after=after,
                    limit=MESSAGES_PER_PAGE,
                )
            )
            if page:
                yield page
                after = page[-1].id
            if len(page) < MESSAGES_PER_PAGE:
                break
        if len(customers) < profile_part.CUSTOMERS_AT_ONCE:
            return
        customer = customers[-1]


async def _one_page(
    attempt: JobAttempt,
    resources: Resources,
    selection: Selection,
    stage: AnalyseMessages,
    page: Sequence[PendingMessage],
    totals: _Totals,
) -> None:
    ids = await attempt.in_thread(partial(stage.token_ids, page))
    vectors = await _embed(attempt, resources, stage, ids)
    analyses = await attempt.in_thread(partial(stage.analyses, page, vectors))
    tokens = stage.tokens(ids)

    def write(connection: Connection[Any]) -> int:
        job = attempts.hold(connection, attempt.job)
        work = digest(job.id, stage.key.space, stage.key.version, page[0].id, page[-1].id)
        event = UsageEvent(
            organisation=job.organisation,
            id=event_id(EMBEDDING, work),
            source=UsageSource.JOB,
            model=stage.key.space.rpartition("@")[0],
            quantity=tokens,
            job=job.id,
        )
        record_usage(connection, [event])
        return write_analyses(connection, selection, stage.key, analyses)

    written = await attempt.in_transaction(write)
    totals.analysed += written
    totals.messages += len(page)
    totals.tokens += tokens
    attempt.goes_on()
    await attempt.progress(totals.messages, unit="messages")


async def _embed(
    attempt: JobAttempt, resources: Resources, stage: AnalyseMessages, ids: Ids
) -> NDArray[np.float32]:
    """Return the vectors, (n, dim) float32. All calls of a page are made at the same time. Each call has
    messages of similar length, because a call takes as long as its longest messages.
    """
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    parts = [order[first : first + MESSAGES_PER_CALL] for first in range(0, len(order), MESSAGES_PER_CALL)]

    async def call(part: Sequence[int]) -> NDArray[np.float32]:
        send = partial(
            resources.embed,
            [ids[place] for place in part],
            fingerprint=stage.key.space,
            organisation=attempt.job.organisation,
            urgent=attempt.urgent,
        )
        return await attempt.answer(send)

    # Do not use a TaskGroup, for the reason that ``embed_chunks`` gives.
    tasks = [asyncio.create_task(call(part)) for part in parts]
    try:
        found = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    vectors = np.empty((len(ids), found[0].shape[1]), dtype=np.float32)
    for part, answer in zip(parts, found, strict=True):
        vectors[list(part)] = answer
    return vectors
