"""POST /v1/tokenize: the ids the model reads of a text, so that clients can count and cut before they send."""

from typing import Any

from starlette.responses import Response

from cluster.text.well_formed import json_bytes
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.request_model import RequestModel
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.inputs import as_list
from serve_app.embedding.prompts import model_and_kind

router = json_router(404)


class TokenizeRequest(RequestModel):
    """A text or several."""

    input: str | list[str]
    model: str


@router.post("/v1/tokenize", summary="Token ids of texts")
async def tokenize(body: TokenizeRequest, service: ServiceDep, organisation: Organisation) -> Response:
    """Ids of each text, complete and without special tokens; ``count`` is what ``usage`` would say, were nothing cut."""
    del organisation  # costs next to nothing, and is counted for nobody
    model, _ = model_and_kind(service, body.model)
    ids = await model.tokenise(as_list(body.input))
    special = model.engine.tokeniser.special_tokens
    data: list[dict[str, Any]] = [
        {"index": index, "ids": one, "count": len(one) + special} for index, one in enumerate(ids)
    ]
    answer = {
        "object": "list",
        "data": data,
        "model": body.model,
        "max_input_tokens": model.max_content_tokens + special,
    }
    return Response(json_bytes(answer), media_type="application/json")
