"""POST /v1/embeddings, as OpenAI's API reference describes it, and what its users ask for beyond.

Inputs that are too long are refused, cut or averaged in parts, and it is always said which: in a field of each, in a header
and in a counter.
"""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cluster.errors import InvalidInput
from serve_app.description import refusals
from serve_app.inputs import Input, TokenIds, as_list, as_texts, own_ids
from serve_app.output import EncodingFormat, OutputDtype, as_dtype, cut, encoded
from serve_app.prompts import model_and_kind, prompt_of
from serve_app.served_model import Made, Overflow, RequestTerms, ServedModel
from serve_app.service import Service
from serve_app.state import ServiceOf
from serve_app.terms import Terms

router = APIRouter(responses=refusals(404, 429))


class EmbeddingRequest(BaseModel):
    """OpenAI's CreateEmbeddingRequest, and after ``user`` fields of ours."""

    model_config = ConfigDict(extra="forbid")

    input: Input
    model: Annotated[str, Field(description="One of /v1/models; `-query` or `-passage` behind it chooses that prompt")]
    encoding_format: EncodingFormat = "float"
    dimensions: Annotated[int | None, Field(ge=1, description="Cut to this length and brought back to unit length")] = None
    user: Annotated[str | None, Field(max_length=512)] = None
    output_dtype: Annotated[OutputDtype, Field(description="Type of the numbers; base64 holds them little-endian")] = "float"
    overflow: Annotated[Overflow | None, Field(description="What becomes of an input that is too long")] = None
    input_type: Annotated[str | None, Field(description="query, document and others: chooses the model's prompt")] = None
    prompt_name: Annotated[str | None, Field(description="The model's prompt of this name")] = None
    token_ids: Annotated[TokenIds, Field(description="Whose ids token arrays hold: OpenAI's cl100k_base or the model's own")] = "cl100k"  # noqa: S105


@router.post("/v1/embeddings", summary="Vectors of texts")
async def create_embeddings(body: EmbeddingRequest, service: ServiceOf, terms: Terms) -> Response:
    """One vector for each input, in the order given, and the tokens the model read."""
    model, kind = model_and_kind(service, body.model)
    check_dimensions(service, model, body.dimensions)
    made = await _made(service, model, body, kind, terms)
    vectors = as_dtype(cut(made.vectors, body.dimensions), body.output_dtype)
    data = [_item(index, encoded(vector, body.encoding_format), made) for index, vector in enumerate(vectors)]
    tokens = sum(made.token_counts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_response({"object": "list", "data": data, "model": body.model, "usage": usage}, made)


async def _made(service: Service, model: ServedModel, body: EmbeddingRequest, kind: str | None, terms: RequestTerms) -> Made:
    inputs = as_list(body.input)
    overflow = body.overflow or service.settings.overflow_by_model.get(model.name, service.settings.overflow)
    prompt = prompt_of(model, input_type=body.input_type or (None if body.prompt_name else kind), prompt_name=body.prompt_name)
    if body.token_ids == "model" and not isinstance(inputs[0], str):  # noqa: S105  not that kind of token
        if prompt:
            raise InvalidInput("a prompt is text: it cannot stand before the model's own token ids", param="token_ids")
        return await model.embed_ids(own_ids(inputs), terms, overflow=overflow)
    return await model.embed_texts(as_texts(inputs, service.decode), terms, prompt=prompt, overflow=overflow)


def check_dimensions(service: Service, model: ServedModel, wanted: int | None) -> None:
    """Refuse lengths the model was not trained for.

    Raises:
        InvalidInput: naming those it was, or its full length where the setting allows all below.
    """
    if wanted is None or wanted in model.engine.dimensions:
        return
    dim = model.engine.fingerprint.dim
    if wanted > dim:
        raise InvalidInput(f"dimensions is {wanted}, but the vectors of {model.name} have {dim}", param="dimensions")
    if not service.settings.any_dimensions:
        trained = " or ".join(map(str, model.engine.dimensions))
        raise InvalidInput(f"dimensions is {wanted}, but {model.name} was trained for {trained}; leave it out", param="dimensions")


def json_response(answer: dict[str, Any] | list[Any], made: Made) -> Response:
    """The body, written from arrays: no vector ever becomes a list of Python numbers. Headers tell of long inputs."""
    headers = {}
    if truncated := sum(map(bool, made.truncated)):
        headers["x-truncated-inputs"] = str(truncated)
    if averaged := sum(parts > 1 for parts in made.parts):
        headers["x-averaged-inputs"] = str(averaged)
    content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json", headers=headers)


def _item(index: int, embedding: Any, made: Made) -> dict[str, Any]:
    item = {"object": "embedding", "index": index, "embedding": embedding}
    if made.truncated[index]:
        item["truncated_tokens"] = made.truncated[index]
    if made.parts[index] > 1:
        item["averaged_parts"] = made.parts[index]
    return item
