"""POST /embed and /rerank, as Hugging Face's text-embeddings-inference has them: for callers that move here.

Errors are in OpenAI's shape.
"""

from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from cluster.text.well_formed import json_bytes
from serve_app.edge.compatibility_fields import CUTS, SIDES, Direction, Sigmoid, UnitLength
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import NotEmpty, PositiveWhole, RequestModel
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.inputs import as_list, field_of
from serve_app.embedding.long_inputs import Long
from serve_app.embedding.output import cut
from serve_app.embedding.prompts import prompt_of
from serve_app.embedding.ranking import MAX_DOCUMENTS, Question, ranked
from serve_app.routes.embeddings import check_dimensions, json_response

router = json_router(429)

REMEDY = 'send "truncate": true to cut it'


class EmbedRequest(RequestModel):
    """TEI's EmbedRequest, for the settings' own model."""

    inputs: str | list[str]
    normalize: UnitLength = True
    truncate: bool = False
    truncation_direction: Direction = "right"
    prompt_name: str | None = None
    dimensions: PositiveWhole | None = None


class TeiRerankRequest(RequestModel):
    """TEI's RerankRequest."""

    query: NotEmpty
    texts: Annotated[list[str], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    truncate: bool = False
    truncation_direction: Direction = "right"
    raw_scores: Sigmoid = False
    return_text: bool = False


@router.post("/embed", summary="Vectors of texts, in TEI's shape")
async def embed(body: EmbedRequest, service: ServiceDep, context: ContextDep) -> Response:
    """A list of vectors and nothing else."""
    model = service.main
    check_dimensions(service, model, body.dimensions)
    texts, named = as_list(body.inputs, "inputs"), field_of(body.inputs, field="inputs", remedy=REMEDY)
    prompt = prompt_of(model, input_type=None, prompt_name=body.prompt_name)
    made = await model.embed_texts(texts, context, prompt=prompt, long=_long(body), named=named)
    return json_response(list(cut(made.vectors, body.dimensions)), made)


@router.post("/rerank", summary="Texts by how well they answer, in TEI's shape")
async def rerank(body: TeiRerankRequest, service: ServiceDep, context: ContextDep) -> Response:
    """The texts' indices, best first, each with its score in [0, 1]."""
    question = Question(query=body.query, texts=body.texts, field="texts", long=_long(body))
    ranking = await ranked(service, question, context)
    answer: list[dict[str, Any]] = [
        {
            "index": index,
            "score": float(ranking.scored.scores[index]),
            **({"text": body.texts[index]} if body.return_text else {}),
        }
        for index in ranking.best
    ]
    return Response(json_bytes(answer), media_type="application/json", headers=ranking.headers)


def _long(body: EmbedRequest | TeiRerankRequest) -> Long:
    overflow, _ = CUTS[body.truncate]
    return Long(overflow=overflow, side=SIDES[body.truncation_direction.lower()])
