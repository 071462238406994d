"""POST /v1/tokenize: return token ids of texts, for clients that count tokens or cut texts themselves."""

from typing import Literal

from starlette.responses import Response

from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.request_model import RequestModel
from serve_app.edge.response_model import ResponseModel, json_response
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.inputs import as_list
from serve_app.embedding.prompts import model_and_kind

router = json_router(404)


class TokenizeRequest(RequestModel):
    """The texts to tokenise."""

    input: str | list[str]
    """A text, or a list of texts."""
    model: str
    """Name of the model, one of `/v1/models`."""


class TokenizedText(ResponseModel):
    """The tokens of one text."""

    index: int
    """Position of the text in the request, counted from 0."""
    ids: list[int]
    """Token ids of the whole text, without special tokens."""
    count: int
    """Number of tokens of the whole text, special tokens included."""


class TokenizeResponse(ResponseModel):
    """The tokens of each text."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[TokenizedText]
    """The tokens of each text, in the order of the request."""
    model: str
    """Name of the model, as requested."""
    max_input_tokens: int
    """Maximum number of tokens of an input, special tokens included."""


@router.post("/v1/tokenize", summary="Get the token ids of texts", response_model=TokenizeResponse)
async def tokenize(body: TokenizeRequest, service: ServiceDep, organisation: Organisation) -> Response:
    """Returns the token ids of each text, even of texts that are too long for the model."""
    del organisation  # tokenising costs little, so no usage is recorded for the organisation
    model, _ = model_and_kind(service.models, body.model)
    ids = await model.tokenise(as_list(body.input))
    special = model.engine.tokeniser.special_tokens
    return json_response(
        {
            "object": "list",
            "data": [
                {"index": index, "ids": one, "count": len(one) + special} for index, one in enumerate(ids)
            ],
            "model": body.model,
            "max_input_tokens": model.max_content_tokens + special,
        }
    )
