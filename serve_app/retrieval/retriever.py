"""Call ``cluster.retrieval.retrieve`` with the models, the database and the result cache of this replica.

The search route, the answers of agents and the MCP tools use a ``Retriever``. The tokens of the questions
count as usage of the context's organisation and source.

    retriever = Retriever(service)
    options = RetrievalOptions(max_chunks=5)
    retrieved = await retriever.retrieve(context, ["handbook"], ["Who may stop the pump?"], options)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.documents.vector_stores.store_versions import VersionedStore
from cluster.documents.vector_stores.stores import VectorStore
from cluster.retrieval import (
    EmbedQuestions,
    PreparedSearch,
    QueryVectors,
    Ranker,
    RerankTexts,
    RetrievalOptions,
    Retrieved,
    retrieve,
)
from serve_app.embedding.prompts import prompt_of
from serve_app.embedding.ranking import by_cross_encoder
from serve_app.embedding.served_model import RequestContext
from serve_app.service import Service


class Retriever:
    """Finds the chunks of vector stores that answer questions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def cross_encoder(self) -> str | None:
        """Name of the cross-encoder; None if there is no cross-encoder."""
        reranker = self._service.models.reranker
        return None if reranker is None else reranker.name

    def ranker(self, name: str, *, param: str) -> Ranker:
        """Return the ranker that a request names.

        Args:
            name: ``none``, ``auto``, ``default-2024-11-15``, or the cross-encoder's name.
            param: name of the request's field, for the error message.

        Raises:
            InvalidInput: no ranker has this name.
        """
        return Ranker.named(name, cross_encoder=self.cross_encoder, param=param)

    async def retrieve(
        self,
        context: RequestContext,
        stores: Sequence[str],
        questions: Sequence[str],
        options: RetrievalOptions,
        *,
        found: Sequence[VersionedStore] | None = None,
        vector: Sequence[float] | None = None,
        prepared: PreparedSearch | None = None,
    ) -> Retrieved:
        """Return the chunks of the stores that answer the questions best.

        Args:
            context: the context of the request, with its organisation and the source of its usage.
            stores: ids or names of vector stores.
            questions: as in ``cluster.retrieval.retrieve``.
            options: select the chunks to return.
            found: as in ``cluster.retrieval.retrieve``.
            vector: as in ``cluster.retrieval.retrieve``.
            prepared: as in ``cluster.retrieval.retrieve``.

        Raises:
            ClusterError: as ``cluster.retrieval.retrieve``; or the caller may not use a store or a model, or
                a model has too much waiting work.
        """
        return await retrieve(
            context.organisation,
            stores,
            questions,
            options,
            in_database=self._service.in_database,
            embed=self._embed(context),
            rerank=None if self.cross_encoder is None else self._rerank(context),
            found=found,
            vector=vector,
            cache=self._service.search_cache,
            prepared=prepared,
        )

    def _embed(self, context: RequestContext) -> EmbedQuestions:
        async def embed(store: VectorStore, questions: Sequence[str]) -> QueryVectors:
            model = self._service.models.of_store(store.fingerprint)
            prompt = prompt_of(model, input_type="query")
            made = await model.embed_texts(questions, context, prompt=prompt)
            return QueryVectors(
                vectors=made.vectors,
                fingerprint=model.engine.fingerprint.id,
                truncated=sum(map(bool, made.truncated)),
            )

        return embed

    def _rerank(self, context: RequestContext) -> RerankTexts:
        async def rerank(question: str, texts: Sequence[str]) -> NDArray[np.float32]:
            return (await by_cross_encoder(self._service.models, question, texts, context)).scores

        return rerank
