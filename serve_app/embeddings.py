"""POST /v1/embeddings, as OpenAI's API reference describes it.

Beyond it: ``overflow="truncate"`` cuts inputs that are too long instead of refusing them, and says so for each; token
arrays are taken only as this model's own ids (``token_ids="model"``), since clients send those of OpenAI's tokenisers,
which mean other words here.
"""

import asyncio
import base64
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from cluster.engines import Embeddings
from cluster.errors import InvalidInput
from serve_app.auth import Organisation
from serve_app.models import require_model
from serve_app.service import Service
from serve_app.state import ServiceOf

MAX_INPUTS = 2_048
MAX_TOKENS = 300_000

router = APIRouter()


def _told_plainly(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One sentence instead of one for each branch of the union."""
    try:
        return validate(value)
    except ValidationError as exc:
        raise PydanticCustomError("input_type", "must be a text or a list of texts; or a list of token ids, or of such lists") from exc


Input = Annotated[str | list[str] | list[int] | list[list[int]], Field(union_mode="left_to_right"), WrapValidator(_told_plainly)]


class EmbeddingRequest(BaseModel):
    """OpenAI's CreateEmbeddingRequest, and two fields of ours."""

    model_config = ConfigDict(extra="forbid")

    input: Input
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = Field(default=None, max_length=512)
    overflow: Literal["error", "truncate"] = "error"
    token_ids: Literal["model"] | None = None


@router.post("/v1/embeddings", summary="Vectors of texts")
async def create_embeddings(body: EmbeddingRequest, service: ServiceOf, organisation: Organisation) -> Response:
    """One vector for each input, in the order given, and the tokens the model read."""
    del organisation  # whose tokens they are: counted by the usage events to come
    require_model(service, body.model)
    _check_dimensions(service, body.dimensions)
    ids = await _ids(service, body)
    if body.overflow == "error":
        _refuse_long(service, ids)
    embedded = await service.embed_ids(ids)
    content = _answer(service, body, embedded)
    headers = {"x-truncated-inputs": str(int((embedded.truncated > 0).sum()))} if embedded.truncated.any() else None
    return Response(content, media_type="application/json", headers=headers)


async def _ids(service: Service, body: EmbeddingRequest) -> list[NDArray[np.int32]]:
    inputs = body.input if isinstance(body.input, list) and not _is_one_array(body.input) else [body.input]
    if not inputs:
        raise InvalidInput("input is an empty list; send at least one text", param="input")
    if len(inputs) > MAX_INPUTS:
        raise InvalidInput(f"input has {len(inputs):,} items; at most {MAX_INPUTS:,} fit one request", param="input")
    for position, one in enumerate(inputs):
        if not one:
            raise InvalidInput(f"input[{position}] is empty; every input needs at least one character", param="input")
    if isinstance(inputs[0], str):
        ids = await asyncio.to_thread(service.engine.tokeniser.ids, [str(one) for one in inputs])
    else:
        ids = _own_ids(inputs, body)
    tokens = sum(map(len, ids))
    if tokens > MAX_TOKENS:
        raise InvalidInput(f"input has {tokens:,} tokens in all; at most {MAX_TOKENS:,} fit one request", param="input")
    return ids


def _is_one_array(inputs: list[Any]) -> bool:
    return bool(inputs) and isinstance(inputs[0], int)


def _own_ids(inputs: list[Any], body: EmbeddingRequest) -> list[NDArray[np.int32]]:
    if body.token_ids != "model":  # noqa: S105  not that kind of token
        raise InvalidInput(
            f"input holds token ids, and those of OpenAI's tokenisers mean other words to {body.model}; send text "
            '(LangChain: check_embedding_ctx_length=False), or set token_ids="model" if they are this model\'s own',
            param="input",
        )
    most = np.iinfo(np.int32).max
    if any(not 0 <= id <= most for one in inputs for id in one):
        raise InvalidInput("input holds a token id that no vocabulary has", param="input")
    return [np.array(one, dtype=np.int32) for one in inputs]


def _check_dimensions(service: Service, wanted: int | None) -> None:
    dim = service.engine.fingerprint.dim
    if wanted is not None and wanted != dim:
        raise InvalidInput(f"dimensions is {wanted}, but this model was trained for {dim} only; leave it out", param="dimensions")


def _refuse_long(service: Service, ids: list[NDArray[np.int32]]) -> None:
    most = service.engine.tokeniser.max_content_tokens
    for position, one in enumerate(ids):
        if len(one) > most:
            raise InvalidInput(
                f'input[{position}] has {len(one):,} tokens; this model reads {most:,}. Split it, or send overflow="truncate"',
                param="input",
            )


def _answer(service: Service, body: EmbeddingRequest, embedded: Embeddings) -> bytes:
    """The body, written from arrays: no vector ever becomes a list of Python numbers."""
    vectors = np.ascontiguousarray(embedded.vectors, dtype="<f4")
    as_base64 = body.encoding_format == "base64"
    data = []
    for index, vector in enumerate(vectors):
        item: dict[str, Any] = {"object": "embedding", "index": index}
        item["embedding"] = base64.b64encode(vector.tobytes()).decode() if as_base64 else vector
        if embedded.truncated[index]:
            item["truncated_tokens"] = int(embedded.truncated[index])
        data.append(item)
    tokens = int(embedded.token_counts.sum())
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": service.settings.model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
