"""POST /v2/embed with the requests and answers of Cohere's API. Errors have OpenAI's form."""

from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import Field
from starlette.responses import Response

from serve_app.edge.compatibility_fields import CUTS, QUEUEING
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import PositiveWhole, RequestModel
from serve_app.edge.response_model import Omissible, ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.inputs import as_list, field_of
from serve_app.embedding.long_inputs import LongInputPolicy
from serve_app.embedding.output import TYPES, EmbeddingType, as_dtype, cut, encoded
from serve_app.embedding.prompts import model_and_kind, prompt_of
from serve_app.routes.embeddings import check_dimensions, embeddings_response

router = json_router(404, 429)

REMEDY = 'send truncate="END" or "START" to cut it'


class CohereEmbedRequest(RequestModel):
    """Cohere's v2 embed request, for texts."""

    CHANGES_NOTHING = QUEUEING

    model: str
    """Name of the model, one of `/v1/models`."""
    texts: list[str]
    """The texts."""
    input_type: str | None = None
    """Kind of the texts, such as `search_query` or `search_document`, which selects the model's prompt."""
    embedding_types: Annotated[list[EmbeddingType] | None, Field(min_length=1)] = None
    """Types of the numbers to return; `float` by default."""
    output_dimension: PositiveWhole | None = None
    """Number of dimensions to which the vectors are cut; cut vectors are scaled to unit length."""
    max_tokens: PositiveWhole | None = None
    """Maximum number of tokens of a text, special tokens included; `truncate` applies to longer texts."""
    truncate: Literal["NONE", "START", "END"] = "END"
    """What happens to a text that is too long: `START` cuts its beginning, `END` cuts its end, and `NONE`
    refuses the text."""


class CohereEmbeddings(ResponseModel):
    """The vectors in each requested type. Types that were not requested are left out."""

    floats: Omissible[list[list[float]]] = Field(None, alias="float")
    """Floating-point numbers of 32 bits."""
    int8: Omissible[list[list[int]]] = None
    """Whole numbers from -127 to 127."""
    uint8: Omissible[list[list[int]]] = None
    """Whole numbers from 1 to 255."""
    binary: Omissible[list[list[int]]] = None
    """The signs of the vector; each whole number from -128 to 127 holds eight signs."""
    ubinary: Omissible[list[list[int]]] = None
    """The signs of the vector; each whole number from 0 to 255 holds eight signs."""
    base64: Omissible[list[str]] = None
    """Floating-point numbers of 32 bits, little-endian, in base64."""


class CohereApiVersion(ResponseModel):
    """The version of Cohere's API."""

    version: Literal["2"] = "2"
    """Always `2`."""


class BilledTokens(ResponseModel):
    """The tokens of the request."""

    input_tokens: int
    """Number of tokens that the model read, special tokens and prompts included."""


class CohereEmbedMeta(ResponseModel):
    """The metadata that Cohere's API returns about a request."""

    api_version: CohereApiVersion
    """The version of Cohere's API."""
    billed_units: BilledTokens
    """The tokens of the request."""


class CohereEmbedResponse(ResponseModel):
    """Cohere's v2 embed response."""

    id: str
    """Random id of this answer."""
    embeddings: CohereEmbeddings
    """The vectors, in the order of the texts."""
    texts: list[str]
    """The texts of the request."""
    meta: CohereEmbedMeta
    """The version of Cohere's API, and the tokens of the request."""
    response_type: Literal["embeddings_by_type"] = "embeddings_by_type"
    """Always `embeddings_by_type`."""


@router.post("/v2/embed", summary="Embed texts, in Cohere's form", response_model=CohereEmbedResponse)
async def embed(body: CohereEmbedRequest, service: ServiceDep, context: ContextDep) -> Response:
    """Returns the vectors of the texts in each requested type."""
    model, kind = model_and_kind(service.models, body.model)
    check_dimensions(service, model, body.output_dimension, field="output_dimension")
    texts, named = as_list(body.texts, "texts"), field_of(body.texts, field="texts", remedy=REMEDY)
    overflow, side = CUTS[body.truncate]
    # Clients may send the longer limit of Cohere's models. It is lowered to this model's limit, not refused.
    most = None if body.max_tokens is None else min(body.max_tokens, model.max_tokens)
    long = LongInputPolicy(overflow=overflow, side=side, most=most, limit_field="max_tokens")
    prompt = prompt_of(model, input_type=body.input_type or kind, prompt_name=None)
    made = await model.embed_texts(texts, context, prompt=prompt, long=long, named=named)
    vectors = cut(made.vectors, body.output_dimension)
    embeddings: dict[str, list[Any]] = {}
    for name in body.embedding_types or ["float"]:
        dtype, format = TYPES[name]
        embeddings[name] = [encoded(vector, format) for vector in as_dtype(vectors, dtype)]
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": sum(made.token_counts)}}
    answer = {
        "id": str(uuid4()),
        "embeddings": embeddings,
        "texts": body.texts,
        "meta": meta,
        "response_type": "embeddings_by_type",
    }
    return embeddings_response(answer, made)
