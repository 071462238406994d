"""The job that finds the sources of an agent's frequent questions before they are asked.

The questions are given, or are the most frequent questions of the agent's conversations. Each question is
searched as a live question is. A question whose context is still current is not searched again. At the end,
contexts of other questions and of earlier versions of the stores are deleted.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.agents import DefinedAgent, load_agent
from cluster.answers import retrieval_options, rules_of
from cluster.documents.vector_stores.store_versions import find_versioned_store
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import NotFound
from cluster.jobs import attempts
from cluster.jobs.jobs import GONE
from cluster.precomputed.contexts import (
    ContextChunk,
    PrecomputedContext,
    context_id,
    context_key,
    current_ids,
    forget_if_erased,
    keep_only,
    save_context,
    versions_of,
)
from cluster.precomputed.frequent_questions import AskedQuestion, asked_questions, frequent
from cluster.retrieval import RetrievalOptions
from cluster.usage.events import EMBEDDING, RERANKING, UsageEvent, UsageSource, event_id, record_usage
from data_jobs.kinds.resources import Resources
from data_jobs.retrieval import JobRetriever
from data_jobs.worker.job_attempt import JobAttempt, NotWanted

#: Maximum number of questions that are embedded in one call.
QUESTIONS_AT_ONCE = 64


@dataclass(frozen=True)
class PrecomputeContexts:
    """Runs jobs of the kind ``PRECOMPUTE_CONTEXTS``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        work = await attempt.stage("read", partial(attempt.in_transaction, partial(_read, attempt)), tries=1)
        retriever = JobRetriever.of(
            attempt,
            indexes=self.resources.indexes,
            embed=self.resources.embed,
            score=self.resources.score,
        )
        run = _Run(attempt, retriever, work)
        await attempt.stage("embed", run.embed, tries=attempt.settings.index_attempts)
        await attempt.stage("search", run.search, tries=attempt.settings.index_attempts)
        await attempt.in_transaction(run.finish)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ContextWork:
    """What an attempt reads in its first stage."""

    agent: DefinedAgent
    stores: Sequence[VectorStore]
    asked: Sequence[AskedQuestion]
    #: True if the job names the questions, so that their texts may be stored.
    given: bool
    options: RetrievalOptions
    #: Time of the transaction that read the questions.
    read_at: datetime


class _Run:
    """One attempt at the job."""

    def __init__(self, attempt: JobAttempt, retriever: JobRetriever, work: _ContextWork) -> None:
        self._attempt, self._retriever, self._work = attempt, retriever, work
        self._questions: list[str] = []
        self._ids: set[str] = set()
        self._computed = 0

    async def embed(self) -> None:
        """Embed the questions. Keep all questions that the job names; otherwise, choose the frequent ones."""
        work, settings = self._work, self._attempt.settings
        texts = [one.text for one in work.asked]
        for store in {store.fingerprint.id: store for store in work.stores}.values():
            for first in range(0, len(texts), QUESTIONS_AT_ONCE):
                await self._retriever.embed(store, texts[first : first + QUESTIONS_AT_ONCE])
                self._attempt.goes_on()
        if work.given or not texts or not work.stores:
            self._questions = texts
            return
        vectors = (await self._retriever.embed(self._keyed, texts)).vectors
        asked = self._attempt.job.input
        chosen = frequent(
            work.asked,
            vectors,
            similarity=settings.context_similarity,
            least=asked["min_conversations"],
            most=asked["max_questions"],
        )
        self._questions = [one.text for one in chosen]

    @property
    def _keyed(self) -> VectorStore:
        """The store with the smallest id of a fingerprint. The vectors of its model identify the contexts."""
        return min(self._work.stores, key=lambda store: store.fingerprint.id)

    async def search(self) -> None:
        """Search the questions whose contexts are not current, and save the new contexts."""
        attempt, work = self._attempt, self._work
        if not work.stores or not self._questions:
            return
        key = context_key(self._stores, self._keyed.fingerprint.id, work.options)
        vectors = list((await self._retriever.embed(self._keyed, self._questions)).vectors)
        current = await attempt.in_transaction(partial(self._current, key, vectors))
        self._ids |= set(current.values())
        for position, (question, vector) in enumerate(zip(self._questions, vectors, strict=True)):
            if position not in current:
                await self._prepare(question, vector, key)
            await attempt.progress(position + 1, len(self._questions), unit="questions")

    @property
    def _stores(self) -> list[str]:
        return [store.id for store in self._work.stores]

    def _current(
        self, key: str, vectors: Sequence[NDArray[np.float32]], connection: Connection[Any]
    ) -> dict[int, str]:
        """Return the ids of the contexts that are current, by the position of the question."""
        organisation = self._attempt.job.organisation
        versions = versions_of(
            {id: find_versioned_store(connection, organisation, id).version for id in self._stores}
        )
        ids = [context_id(key, versions, vector) for vector in vectors]
        found = current_ids(connection, organisation, self._work.agent.id, ids)
        return {position: id for position, id in enumerate(ids) if id in found}

    async def _prepare(self, question: str, vector: NDArray[np.float32], key: str) -> None:
        attempt, work = self._attempt, self._work
        organisation = attempt.job.organisation
        began = time.monotonic()
        found = await self._retriever.retrieve(self._stores, [question], work.options)
        if not found.lasting:  # not saved, because an external index may still show deleted chunks
            return
        context = PrecomputedContext(
            question=question if work.given else None,
            vector=vector,
            chunks=[
                ContextChunk(id=one.id, store=one.store, score=one.score, similarity=one.similarity)
                for one in found.chunks
            ],
            seconds=time.monotonic() - began,
            versions=versions_of(found.versions),
        )
        self._ids.add(
            await attempt.in_transaction(
                lambda connection: save_context(connection, organisation, work.agent.id, key, context)
            )
        )
        self._computed += 1

    def finish(self, connection: Connection[Any]) -> None:
        """Delete the agent's contexts of other questions and versions, record the usage, and end the job."""
        job, agent = self._attempt.job, self._work.agent
        deleted = keep_only(connection, job.organisation, agent.id, self._ids)
        forget_if_erased(connection, job.organisation, agent.id, since=self._work.read_at)
        read = {(EMBEDDING, model): tokens for model, tokens in self._retriever.tokens.items()}
        reranker = self._attempt.settings.reranker_path
        if self._retriever.reranked_tokens and reranker is not None:
            read[RERANKING, reranker.name] = self._retriever.reranked_tokens
        events = [
            UsageEvent(
                organisation=job.organisation,
                id=event_id(kind, f"{job.id}/{model}"),
                kind=kind,
                source=UsageSource.JOB,
                model=model,
                quantity=tokens,
                job=job.id,
                agent=agent.id,
            )
            for (kind, model), tokens in read.items()
        ]
        record_usage(connection, events)
        result = {
            "agent": agent.id,
            "questions": len(self._questions),
            "computed": self._computed,
            "unchanged": len(self._ids) - self._computed,
            "deleted": deleted,
        }
        attempts.finish(connection, job, result=result)


def _read(attempt: JobAttempt, connection: Connection[Any]) -> _ContextWork:
    """Read the agent, its stores and its questions.

    Raises:
        NotWanted: the agent or one of its stores does not exist.
    """
    organisation, asked = attempt.job.organisation, attempt.job.input
    try:
        agent = load_agent(connection, organisation, asked["agent_id"])
        stores = [find_versioned_store(connection, organisation, id).store for id in agent.stores]
    except NotFound as exc:
        raise NotWanted(str(exc), GONE) from exc
    given = asked.get("questions")
    if given is None:
        since = attempt.job.created_at - timedelta(days=asked["days"])
        questions = asked_questions(connection, organisation, agent.id, since=since)
    else:
        questions = [AskedQuestion(text, 1) for text in dict.fromkeys(given)]
    rules = rules_of(agent.definition, cross_encoder=attempt.settings.reranker_path is not None)
    return _ContextWork(
        agent=agent,
        stores=stores,
        asked=questions,
        given=given is not None,
        options=retrieval_options(rules, None),
        read_at=_now(connection),
    )


def _now(connection: Connection[Any]) -> datetime:
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now
