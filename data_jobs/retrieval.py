"""Call ``cluster.retrieval.retrieve`` in a job. The fleet's replicas compute the vectors of the questions.

The job ``precompute_contexts`` uses a ``JobRetriever``. A question gets the same vector as over HTTP, so the
job and the endpoint find the same chunks.

    retriever = JobRetriever.of(attempt, indexes=resources.indexes, embed=resources.embed)
    retrieved = await retriever.retrieve(["handbook"], ["Who may stop the pump?"], RetrievalOptions())
    retriever.tokens                               # {"all-MiniLM-L6-v2": 9}
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Registry, properties
from cluster.engines.prompts import prompt_for
from cluster.retrieval import (
    QueryVectors,
    RetrievalOptions,
    Retrieved,
    RunInDatabase,
    retrieve,
)
from cluster.settings import Settings
from data_jobs.stages import process_resources
from data_jobs.worker.chunk_embedder import ChunkEmbedder, Ids, TextScorer
from data_jobs.worker.job_attempt import JobAttempt

T = TypeVar("T")


class JobRetriever:
    """Finds the chunks of an organisation's vector stores that answer questions.

    Args:
        settings: the settings of the process, with the models.
        organisation: id of the organisation; only its stores are searched.
        embed: calls the replicas of a model.
        in_database: runs blocking work in a thread, with the pool and the indexes.
        score: calls the cross-encoder; None: the ranker ``Ranker.CROSS_ENCODER`` is refused.
        urgent: True if a person waits for the result.
    """

    def __init__(
        self,
        settings: Settings,
        organisation: str,
        embed: ChunkEmbedder,
        *,
        in_database: RunInDatabase,
        score: TextScorer | None = None,
        urgent: bool = False,
    ) -> None:
        self._settings = settings
        self._organisation = organisation
        self._call = embed
        self._in_database = in_database
        self._score = score
        self._urgent = urgent
        #: Number of tokens of the embedded questions, special tokens and prompts included, by the name of the
        #: model. The caller records these tokens as usage.
        self.tokens: Counter[str] = Counter()
        #: Number of tokens that the cross-encoder read. The caller records these tokens as usage, too.
        self.reranked_tokens = 0
        #: For the id of a fingerprint and a question that was embedded before: the vector, and True if the
        #: question was cut.
        self._embedded: dict[tuple[str, str], tuple[NDArray[np.float32], bool]] = {}

    @classmethod
    def of(
        cls,
        attempt: JobAttempt,
        *,
        indexes: ChunkIndexes,
        embed: ChunkEmbedder,
        score: TextScorer | None = None,
    ) -> Self:
        """Make a retriever for the stores of the job's organisation."""

        async def in_database(work: Callable[[ConnectionPool, ChunkIndexes], T], /) -> T:
            return await attempt.in_thread(lambda: work(attempt.pool, indexes))

        return cls(
            attempt.settings,
            attempt.job.organisation,
            embed,
            in_database=in_database,
            score=score,
            urgent=attempt.urgent,
        )

    async def retrieve(
        self, stores: Sequence[str], questions: Sequence[str], options: RetrievalOptions
    ) -> Retrieved:
        """Return the chunks of the stores that answer the questions best.

        Args:
            stores: ids or names of vector stores.
            questions: as in ``cluster.retrieval.retrieve``.
            options: select the chunks to return.

        Raises:
            ClusterError: as ``cluster.retrieval.retrieve``, or no replica answers.
        """
        return await retrieve(
            self._organisation,
            stores,
            questions,
            options,
            in_database=self._in_database,
            embed=self.embed,
            rerank=None if self._score is None else self._rerank,
        )

    async def embed(self, store: VectorStore, questions: Sequence[str], /) -> QueryVectors:
        """Return the vectors of the questions. A question that was embedded before is not embedded again.

        Raises:
            ClusterError: no replica answers.
        """
        fingerprint = store.fingerprint
        unknown = [one for one in dict.fromkeys(questions) if (fingerprint.id, one) not in self._embedded]
        if unknown:
            ids, cut = await self._in_database(lambda _, __: self._tokenised(store, unknown))
            vectors = await self._call(
                ids, fingerprint=fingerprint.id, organisation=self._organisation, urgent=self._urgent
            )
            special = process_resources.special_tokens(self._settings, fingerprint)
            self.tokens[fingerprint.model] += sum(map(len, ids)) + special * len(ids)
            for question, vector, was_cut in zip(unknown, vectors, cut, strict=True):
                self._embedded[fingerprint.id, question] = vector, was_cut
        known = [self._embedded[fingerprint.id, question] for question in questions]
        return QueryVectors(
            vectors=np.stack([vector for vector, _ in known]),
            fingerprint=fingerprint.id,
            truncated=sum(was_cut for _, was_cut in known),
        )

    async def _rerank(self, question: str, texts: Sequence[str], /) -> NDArray[np.float32]:
        assert self._score is not None
        scored = await self._score(question, texts)
        self.reranked_tokens += scored.tokens
        return scored.scores

    def _tokenised(self, store: VectorStore, questions: Sequence[str]) -> tuple[Ids, list[bool]]:
        """Return the token ids of the questions, cut as the endpoint cuts long inputs, and for each question
        whether it was cut.
        """
        entry = Registry(self._settings).of(store.fingerprint)
        prompt = prompt_for(properties(entry).prompts, "query")
        tokeniser = process_resources.tokeniser(self._settings, store.fingerprint)
        ids = tokeniser.ids([prompt + question for question in questions])
        longest = tokeniser.max_content_tokens
        return [one[:longest] for one in ids], [len(one) > longest for one in ids]
