"""POST /v1/rerank, in the shape that Cohere, Jina and Voyage share: documents by how well they answer a query.

With ``CLUSTER_RERANKER_PATH`` a cross-encoder reads each document together with the query. Without it the embedding model
compares their vectors, which is what a vector search did already; ``method`` in the answer says which it was.
"""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cluster.engines import Scored
from cluster.errors import InvalidInput, Throttled
from cluster.ledger.usage import RERANKING
from serve_app.description import refusals
from serve_app.prompts import model_and_kind, prompt_of
from serve_app.served_model import RequestTerms
from serve_app.service import Service
from serve_app.state import ServiceOf
from serve_app.terms import Terms

MAX_DOCUMENTS = 1_000
#: Characters of all documents together: with the query before each, about what an embedding request may hold.
MAX_CHARACTERS = 1_200_000
#: Requests that may wait for the cross-encoder, which takes one at a time.
MAX_WAITING = 32

router = APIRouter(responses=refusals(404, 429))


class Document(BaseModel):
    """A document as an object; what else it holds comes back with it."""

    model_config = ConfigDict(extra="allow")

    text: str


class RerankRequest(BaseModel):
    """The fields the providers share."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str | Document], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    model: str | None = None
    top_n: Annotated[int | None, Field(ge=1)] = None
    return_documents: bool = False


@router.post("/v1/rerank", summary="Documents by how well they answer")
@router.post("/v2/rerank", summary="The same, under Cohere's path", include_in_schema=False)
async def rerank(body: RerankRequest, service: ServiceOf, terms: Terms) -> dict[str, Any]:
    """The documents' indices, best first, each with its score in [0, 1]."""
    texts = [one if isinstance(one, str) else one.text for one in body.documents]
    if sum(map(len, texts)) + len(texts) * len(body.query) > MAX_CHARACTERS:
        raise InvalidInput(f"documents and queries have over {MAX_CHARACTERS:,} characters in all; send fewer", param="documents")
    if service.reranker is None or body.model not in (None, service.reranker.name):
        scored, name, method = await _by_vectors(service, body, texts, terms)
    else:
        scored, name, method = await by_cross_encoder(service, body.query, texts, terms), service.reranker.name, "cross-encoder"
    best = sorted(range(len(texts)), key=lambda index: (-scored.scores[index], index))[: body.top_n]
    return {
        "id": str(uuid4()),
        "model": name,
        "method": method,
        "results": [_result(index, scored, body) for index in best],
        "usage": {"total_tokens": scored.tokens},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }


def _result(index: int, scored: Scored, body: RerankRequest) -> dict[str, Any]:
    result: dict[str, Any] = {"index": index, "relevance_score": float(scored.scores[index])}
    if scored.truncated[index]:
        result["truncated"] = True
    if body.return_documents:
        document = body.documents[index]
        result["document"] = {"text": document} if isinstance(document, str) else document.model_dump()
    return result


async def by_cross_encoder(service: Service, query: str, texts: list[str], terms: RequestTerms) -> Scored:
    """How well each text answers, where there is a cross-encoder.

    Raises:
        Throttled: too many wait for it already.
    """
    assert service.reranker is not None
    if service.reranker.waiting >= MAX_WAITING:
        raise Throttled(f"{service.reranker.waiting} requests wait for the reranker already", retry_after_s=1.0)
    scored = await asyncio.wrap_future(service.reranker.submit(query, texts))
    service.usage.add(terms.organisation, terms.source, service.reranker.name, tokens=scored.tokens, kind=RERANKING)
    return scored


async def _by_vectors(service: Service, body: RerankRequest, texts: list[str], terms: RequestTerms) -> tuple[Scored, str, str]:
    model, _ = model_and_kind(service, body.model or service.main.name)
    prompts = [prompt_of(model, input_type=kind, prompt_name=None) for kind in ("query", "document")]
    query = await model.embed_texts([body.query], terms, prompt=prompts[0])
    documents = await model.embed_texts(texts, terms, prompt=prompts[1])
    scored = Scored(
        scores=np.clip(documents.vectors @ query.vectors[0], 0, 1),
        tokens=sum(query.token_counts) + sum(documents.token_counts),
        truncated=np.array(documents.truncated) > 0,
    )
    return scored, model.name, "bi-encoder"
