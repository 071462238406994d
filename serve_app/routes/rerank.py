"""POST /v1/rerank, in the shape that Cohere, Jina and Voyage share: documents by how well they answer a query.

With ``CLUSTER_RERANKER_PATH`` a cross-encoder reads each document together with the query. Without it the embedding model
compares their vectors, which is what a vector search did already; ``method`` in the answer says which it was.
"""

from typing import Annotated, Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cluster.errors import InvalidInput
from cluster.text.well_formed import MAX_DEPTH, json_bytes
from serve_app.edge.compatibility_fields import OF_IMAGES, QUEUEING, CutFields, ScoresInRange, Sigmoid, one_of
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import NotEmpty, PositiveWhole
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.ranking import MAX_DOCUMENTS, Question, ranked

router = json_router(404, 429)


class Document(BaseModel):
    """A document as an object; what else it holds comes back with it."""

    model_config = ConfigDict(extra="allow", strict=True)

    text: str | None = None


class RerankRequest(CutFields):
    """The fields the providers share, and some that one of them has."""

    CHANGES_NOTHING = frozenset({"user", "max_chunks_per_doc", *QUEUEING, *OF_IMAGES})

    query: NotEmpty
    documents: Annotated[list[str | Document], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    model: str | None = None
    top_n: PositiveWhole | None = None
    top_k: Annotated[PositiveWhole | None, Field(description="Voyage's name for `top_n`")] = None
    return_documents: bool | None = None
    return_text: Annotated[bool | None, Field(description="TEI's name for `return_documents`")] = None
    rank_fields: Annotated[
        list[str] | None, Field(min_length=1, description="Fields of documents that are read, in this order")
    ] = None
    max_tokens_per_doc: Annotated[
        PositiveWhole | None, Field(description="Cut each document to so many tokens")
    ] = None
    raw_scores: Sigmoid | None = None
    use_activation: ScoresInRange | None = None

    def texts(self) -> list[str]:
        """What is read of each document.

        Raises:
            InvalidInput: a document has no such text.
        """
        return [
            one if isinstance(one, str) else _text(one, f"documents[{position}]", self.rank_fields)
            for position, one in enumerate(self.documents)
        ]


@router.post("/v1/rerank", summary="Documents by how well they answer")
@router.post("/v2/rerank", summary="The same, under Cohere's path", include_in_schema=False)
async def rerank(body: RerankRequest, service: ServiceDep, context: ContextDep) -> Response:
    """The documents' indices, best first, each with its score in [0, 1]."""
    returned = one_of(return_documents=body.return_documents, return_text=body.return_text)
    top = one_of(top_n=body.top_n, top_k=body.top_k)
    long = body.long("truncate")
    question = Question(query=body.query, texts=body.texts(), per_document=body.max_tokens_per_doc, long=long)
    ranking = await ranked(service, question, context, model=body.model)
    scored = ranking.scored
    results: list[dict[str, Any]] = []
    for index in ranking.best[:top]:
        result: dict[str, Any] = {"index": index, "relevance_score": float(scored.scores[index])}
        if scored.truncated[index]:
            result["truncated"] = True
        if returned:
            document = body.documents[index]
            result["document"] = (
                {"text": document} if isinstance(document, str) else document.model_dump(exclude_unset=True)
            )
        results.append(result)
    answer = {
        "id": str(uuid4()),
        "model": ranking.model,
        "method": ranking.method,
        "results": results,
        "usage": {"total_tokens": scored.tokens},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }
    return Response(json_bytes(answer), media_type="application/json", headers=ranking.headers)


def _text(document: Document, name: str, fields: list[str] | None) -> str:
    held = document.model_dump()
    if _depth(held) > MAX_DEPTH // 2:
        raise InvalidInput(
            f"{name} is nested deeper than {MAX_DEPTH // 2} levels; send less in one another", param=name
        )
    texts = [held.get(field) for field in fields or ["text"]]
    for field, text in zip(fields or ["text"], texts, strict=True):
        if not isinstance(text, str):
            raise InvalidInput(
                f"{name}.{field} is missing or no text; send the text that is to be read",
                param=f"{name}.{field}",
            )
    return "\n".join(text for text in texts if isinstance(text, str))


def _depth(value: Any) -> int:
    """Levels of lists and objects in one another, counted up to one more than may be."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(inner, dict | list)
        ]
    return depth
