"""POST /v2/embed, as Cohere has it: for callers that move here. Errors are in OpenAI's shape."""

from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import Field
from starlette.responses import Response

from serve_app.edge.compatibility_fields import CUTS, QUEUEING
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import PositiveWhole, RequestModel
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.inputs import as_list, field_of
from serve_app.embedding.long_inputs import Long
from serve_app.embedding.output import TYPES, EmbeddingType, as_dtype, cut, encoded
from serve_app.embedding.prompts import model_and_kind, prompt_of
from serve_app.routes.embeddings import check_dimensions, json_response

router = json_router(404, 429)

REMEDY = 'send truncate="END" or "START" to cut it'


class CohereEmbedRequest(RequestModel):
    """Cohere's v2 embed request, for texts."""

    CHANGES_NOTHING = QUEUEING

    model: str
    texts: list[str]
    input_type: str | None = None
    embedding_types: Annotated[
        list[EmbeddingType] | None, Field(min_length=1, description="float by itself")
    ] = None
    output_dimension: PositiveWhole | None = None
    max_tokens: Annotated[
        PositiveWhole | None, Field(description="Cut to so many tokens, special tokens included")
    ] = None
    truncate: Literal["NONE", "START", "END"] = "END"


@router.post("/v2/embed", summary="Vectors of texts, in Cohere's shape")
async def embed(body: CohereEmbedRequest, service: ServiceDep, context: ContextDep) -> Response:
    """Each type asked for, of the same vectors."""
    model, kind = model_and_kind(service, body.model)
    check_dimensions(service, model, body.output_dimension, field="output_dimension")
    texts, named = as_list(body.texts, "texts"), field_of(body.texts, field="texts", remedy=REMEDY)
    overflow, side = CUTS[body.truncate]
    # Never more than the model reads, so that what asks for Cohere's own length is not refused.
    most = None if body.max_tokens is None else min(body.max_tokens, model.max_tokens)
    long = Long(overflow=overflow, side=side, most=most, said_by="max_tokens")
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
    return json_response(answer, made)
