"""The job that estimates the quality of conversations: read a sample, ask the served model, compare.

Replicas of the endpoint compute the vectors, several calls at the same time. The result has the figures, the
numbers of cases and the definitions. ``cluster.analytics.heuristics`` explains why the figures are estimates.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.analytics.heuristics import DEFINITIONS, QualitySample, SampledPeriod, estimate, read_sample
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.engines.registry import Registry, describe
from cluster.errors import ClusterError, Permanent
from cluster.jobs import attempts
from cluster.jobs.kinds import ESTIMATE_QUALITY
from cluster.text.read_json import read_json
from cluster.text.well_formed import json_bytes
from cluster.usage.events import EMBEDDING, UsageEvent, UsageSource, event_id, record_usage
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt

#: Number of texts in a request to the model, and maximum number of requests that are in flight.
TEXTS_PER_REQUEST, REQUESTS_AT_ONCE = 32, 4


@dataclass(frozen=True)
class EstimateQuality:
    """Runs jobs of the kind ``ESTIMATE_QUALITY``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        period = _period(attempt)
        sample = await attempt.stage(
            "read", partial(attempt.in_transaction, partial(_read, attempt, period)), tries=1
        )
        work = partial(self._embed, attempt, sample.texts())
        vectors, tokens = await attempt.stage("embed", work, tries=attempt.settings.index_attempts)
        entry = Registry(attempt.settings).default
        found = {
            **asdict(estimate(sample, vectors)),
            "model": entry.name,
            "begin": period.begin.isoformat(),
            "end": period.end.isoformat(),
            "agent": period.agent,
            "definitions": dict(DEFINITIONS),
        }

        def finish(connection: Connection[Any]) -> None:
            attempts.finish(
                connection, attempt.job, result={name: found[name] for name in ESTIMATE_QUALITY.result}
            )
            if tokens:
                event = UsageEvent(
                    organisation=attempt.job.organisation,
                    id=event_id(EMBEDDING, f"{attempt.job.id}/quality"),
                    source=UsageSource.JOB,
                    model=entry.name,
                    quantity=tokens,
                    job=attempt.job.id,
                    agent=period.agent,
                )
                record_usage(connection, [event])

        await attempt.in_transaction(finish)

    async def _embed(
        self, attempt: JobAttempt, texts: Sequence[str]
    ) -> tuple[Mapping[str, NDArray[np.float32]], int]:
        """Return the vector of each text, and the number of tokens that the model read."""
        entry = Registry(attempt.settings).default
        fingerprints = {entry.name: describe(entry).id}
        slots = asyncio.Semaphore(REQUESTS_AT_ONCE)
        vectors: dict[str, NDArray[np.float32]] = {}
        tokens = 0

        async def call(part: Sequence[str]) -> None:
            nonlocal tokens
            body = {
                "model": entry.name,
                "input": list(part),
                "encoding_format": "base64",
                "overflow": "truncate",
            }
            async with slots:
                send = partial(self._send, attempt.job.organisation, json_bytes({"body": body}), fingerprints)
                answer = await attempt.answer(send)
            tokens += answer.tokens
            for text, item in zip(part, read_json(answer.body)["data"], strict=True):
                vectors[text] = np.frombuffer(base64.b64decode(item["embedding"]), np.float32)
            attempt.goes_on()
            await attempt.progress(len(vectors), len(texts), unit="texts")

        starts = range(0, len(texts), TEXTS_PER_REQUEST)
        # Do not use a TaskGroup, for the reason that ``embed_chunks`` gives.
        tasks = [asyncio.create_task(call(texts[first : first + TEXTS_PER_REQUEST])) for first in starts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return vectors, tokens

    async def _send(self, organisation: str, line: bytes, fingerprints: Mapping[str, str]) -> RequestAnswer:
        (answer,) = await self.resources.answer([line], organisation=organisation, fingerprints=fingerprints)
        if isinstance(answer, ClusterError):
            raise answer
        if not answer.succeeded:
            raise Permanent(f"the model refused the texts: {answer.body.decode()[:500]}")
        return answer


def _period(attempt: JobAttempt) -> SampledPeriod:
    """Return the days before the job was submitted, so that every attempt reads the same period."""
    asked = attempt.job.input
    end = attempt.job.created_at.astimezone(UTC)
    return SampledPeriod(
        organisation=attempt.job.organisation,
        begin=end - timedelta(days=asked["days"]),
        end=end,
        agent=asked.get("agent_id"),
    )


def _read(attempt: JobAttempt, period: SampledPeriod, connection: Connection[Any]) -> QualitySample:
    return read_sample(connection, period, limit=attempt.job.input["sample"])
