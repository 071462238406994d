"""POST /v1/rerank as in the APIs of Cohere, Jina and Voyage: order documents by how well they answer a query.

If ``CLUSTER_RERANKER_PATH`` is set and the request names no embedding model, a cross-encoder reads each
document together with the query. Otherwise the vectors of the query and of each document are compared. The
field ``method`` of the answer names the method that gave the scores.
"""

from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import ConfigDict, Field
from starlette.responses import Response

from cluster.described_model import DescribedModel
from cluster.errors import InvalidInput
from cluster.text.well_formed import MAX_DEPTH
from serve_app.edge.compatibility_fields import OF_IMAGES, QUEUEING, CutFields, ScoresInRange, Sigmoid, one_of
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import NotEmpty, PositiveWhole
from serve_app.edge.response_model import Omissible, ResponseModel, json_response
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.ranking import MAX_DOCUMENTS, RankingQuestion, ranked
from serve_app.routes.compatible.cohere import CohereApiVersion

router = json_router(404, 429)


class Document(DescribedModel):
    """A document as an object. Answers that contain the document also contain its further fields."""

    model_config = ConfigDict(extra="allow", strict=True)

    text: str | None = None
    """Text of the document, unless `rank_fields` names other fields."""


class RerankRequest(CutFields):
    """A rerank request, with the fields that the providers share and with fields of single providers."""

    CHANGES_NOTHING = frozenset({"user", "max_chunks_per_doc", *QUEUEING, *OF_IMAGES})

    query: NotEmpty
    """The question."""
    documents: Annotated[list[str | Document], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    """The documents to order: texts, or objects with a text."""
    model: str | None = None
    """Name of the cross-encoder or of an embedding model. The default is the cross-encoder or, if there is
    none, the default embedding model."""
    top_n: PositiveWhole | None = None
    """Maximum number of results; by default, all documents are returned."""
    top_k: PositiveWhole | None = None
    """Voyage's name for `top_n`."""
    return_documents: bool | None = None
    """True: each result contains its document."""
    return_text: bool | None = None
    """TEI's name for `return_documents`."""
    rank_fields: Annotated[list[str] | None, Field(min_length=1)] = None
    """Names of the document fields to read, in this order; `text` by default."""
    max_tokens_per_doc: PositiveWhole | None = None
    """Number of tokens to which each document is cut."""
    raw_scores: Sigmoid | None = None
    use_activation: ScoresInRange | None = None

    def texts(self) -> list[str]:
        """Return, for each document, the text that the model reads.

        Raises:
            InvalidInput: a document has no such text, or has too many levels of lists and objects.
        """
        return [
            document
            if isinstance(document, str)
            else _text(document, f"documents[{position}]", self.rank_fields)
            for position, document in enumerate(self.documents)
        ]


class RerankResult(ResponseModel):
    """The score of one document."""

    index: int
    """Position of the document in the request, counted from 0."""
    relevance_score: float
    """How well the document answers the query, from 0 to 1."""
    truncated: Omissible[Literal[True]] = None
    """True if the document was cut; left out otherwise."""
    document: Omissible[dict[str, Any]] = None
    """The document as an object, if the request asked for it."""


class RerankUsage(ResponseModel):
    """The tokens of a request."""

    total_tokens: int
    """Number of tokens that the model read."""


class BilledSearches(ResponseModel):
    """The number of billed searches, as in Cohere's API."""

    search_units: Literal[1] = 1
    """Always 1."""


class RerankMeta(ResponseModel):
    """The metadata that Cohere's API returns about a request."""

    api_version: CohereApiVersion
    """The version of Cohere's API."""
    billed_units: BilledSearches
    """The number of billed searches."""


class RerankResponse(ResponseModel):
    """The documents' positions and scores, best first."""

    id: str
    """Random id of this answer."""
    model: str
    """Name of the model that gave the scores."""
    method: Literal["cross-encoder", "bi-encoder"]
    """`cross-encoder` if a model read the query and each document together; `bi-encoder` if the vectors of
    the query and of each document were compared."""
    results: list[RerankResult]
    """The results, best first."""
    usage: RerankUsage
    """The tokens of the request."""
    meta: RerankMeta
    """Metadata for Cohere's clients."""


@router.post("/v1/rerank", summary="Rerank documents", response_model=RerankResponse)
@router.post("/v2/rerank", response_model=RerankResponse, include_in_schema=False)  # Cohere's path
async def rerank(body: RerankRequest, service: ServiceDep, context: ContextDep) -> Response:
    """Returns the positions of the documents, best first, each with its score."""
    return_documents = one_of(return_documents=body.return_documents, return_text=body.return_text)
    limit = one_of(top_n=body.top_n, top_k=body.top_k)
    long = body.long("truncate")
    question = RankingQuestion(
        query=body.query, texts=body.texts(), per_document=body.max_tokens_per_doc, long=long
    )
    ranking = await ranked(service.models, question, context, model=body.model)
    scored = ranking.scored
    results: list[dict[str, Any]] = []
    for index in ranking.best[:limit]:
        result: dict[str, Any] = {"index": index, "relevance_score": float(scored.scores[index])}
        if scored.truncated[index]:
            result["truncated"] = True
        if return_documents:
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
    return json_response(answer, headers=ranking.headers)


def _text(document: Document, name: str, fields: list[str] | None) -> str:
    values = document.model_dump()
    limit = MAX_DEPTH // 2
    if _depth(values) > limit:
        raise InvalidInput(
            f"{name} has lists and objects inside one another to more than {limit} levels; send fewer levels",
            param=name,
        )
    texts: list[str] = []
    for field in fields or ["text"]:
        text = values.get(field)
        if not isinstance(text, str):
            raise InvalidInput(
                f"{name}.{field} is missing or not a text; send the text of the document there",
                param=f"{name}.{field}",
            )
        texts.append(text)
    return "\n".join(texts)


def _depth(value: Any) -> int:
    """Count the levels of nested lists and objects; counting stops one level above ``MAX_DEPTH``."""
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
