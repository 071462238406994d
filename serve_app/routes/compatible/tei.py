"""POST /embed and /rerank with the requests and answers of Hugging Face's text-embeddings-inference (TEI).

Errors have OpenAI's form.
"""

from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from serve_app.edge.compatibility_fields import CUTS, SIDES, Direction, Sigmoid, UnitLength
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import NotEmpty, PositiveWhole, RequestModel
from serve_app.edge.response_model import Omissible, ResponseModel, json_response
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.inputs import as_list, field_of
from serve_app.embedding.long_inputs import LongInputPolicy
from serve_app.embedding.output import cut
from serve_app.embedding.prompts import prompt_of
from serve_app.embedding.ranking import MAX_DOCUMENTS, RankingQuestion, ranked
from serve_app.routes.embeddings import check_dimensions, embeddings_response

router = json_router(429)

REMEDY = 'send "truncate": true to cut it'


class TeiEmbedRequest(RequestModel):
    """TEI's EmbedRequest, which always uses the default model (CLUSTER_MODEL)."""

    inputs: str | list[str]
    """A text, or a list of texts."""
    normalize: UnitLength = True
    truncate: bool = False
    """True: a text that is too long is cut. False: such a text is refused."""
    truncation_direction: Direction = "right"
    """The end of the text that is cut if the text is too long."""
    prompt_name: str | None = None
    """Name of the model's prompt, one of `prompts` in `/v1/models`."""
    dimensions: PositiveWhole | None = None
    """Number of dimensions to which the vectors are cut; cut vectors are scaled to unit length."""


class TeiRerankRequest(RequestModel):
    """TEI's RerankRequest, which uses the cross-encoder or, if there is none, the default model."""

    query: NotEmpty
    """The question."""
    texts: Annotated[list[str], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    """The texts to order."""
    truncate: bool = False
    """True: a text that is too long is cut. False: such a text is refused."""
    truncation_direction: Direction = "right"
    """The end of the text that is cut if the text is too long."""
    raw_scores: Sigmoid = False
    return_text: bool = False
    """True: the answer contains each text, together with the score of the text."""


class TeiRank(ResponseModel):
    """The score of one text."""

    index: int
    """Position of the text in the request, counted from 0."""
    score: float
    """How well the text answers the query, from 0 to 1."""
    text: Omissible[str] = None
    """The text, if the request asked for it."""


@router.post("/embed", summary="Embed texts, in TEI's form", response_model=list[list[float]])
async def embed(body: TeiEmbedRequest, service: ServiceDep, context: ContextDep) -> Response:
    """Returns a list with one vector for each text."""
    model = service.models.named(service.models.default.name)
    check_dimensions(service, model, body.dimensions)
    texts, named = as_list(body.inputs, "inputs"), field_of(body.inputs, field="inputs", remedy=REMEDY)
    prompt = prompt_of(model, input_type=None, prompt_name=body.prompt_name)
    made = await model.embed_texts(texts, context, prompt=prompt, long=_long(body), named=named)
    return embeddings_response(list(cut(made.vectors, body.dimensions)), made)


@router.post("/rerank", summary="Rerank texts, in TEI's form", response_model=list[TeiRank])
async def rerank(body: TeiRerankRequest, service: ServiceDep, context: ContextDep) -> Response:
    """Returns the positions of the texts, best first, each with its score."""
    question = RankingQuestion(query=body.query, texts=body.texts, field="texts", long=_long(body))
    ranking = await ranked(service.models, question, context)
    answer: list[dict[str, Any]] = [
        {
            "index": index,
            "score": float(ranking.scored.scores[index]),
            **({"text": body.texts[index]} if body.return_text else {}),
        }
        for index in ranking.best
    ]
    return json_response(answer, headers=ranking.headers)


def _long(body: TeiEmbedRequest | TeiRerankRequest) -> LongInputPolicy:
    overflow, _ = CUTS[body.truncate]
    return LongInputPolicy(overflow=overflow, side=SIDES[body.truncation_direction.lower()])
