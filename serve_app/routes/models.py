"""GET /v1/models and /v1/models/{model}: what is served here."""

from typing import Any

from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.output import int8_range
from serve_app.embedding.served_model import ServedModel

#: OpenAI's shape wants a time; a model has none that means anything here.
CREATED = 0

router = json_router(404)


@router.get("/v1/models", summary="The models served here")
async def list_models(service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """All of them."""
    del organisation  # every organisation sees every model
    return {"object": "list", "data": [_page(model) for model in service.models.values()]}


@router.get("/v1/models/{model:path}", summary="One model")
async def get_model(model: str, service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """One of them, by its name."""
    del organisation
    return _page(service.model(model))


def _page(model: ServedModel) -> dict[str, Any]:
    """OpenAI's fields, and what one has to know to use the vectors."""
    fingerprint = model.engine.fingerprint
    return {
        "id": model.name,
        "object": "model",
        "created": CREATED,
        "owned_by": "embedding-cluster",
        "dimensions": fingerprint.dim,
        "trained_dimensions": list(model.engine.dimensions),
        "max_input_tokens": fingerprint.max_tokens,
        # The same under the names that vLLM's clients and model routers look for.
        "max_model_len": fingerprint.max_tokens,
        "context_length": fingerprint.max_tokens,
        "prompts": dict(model.engine.prompts),
        "int8_range": int8_range(fingerprint.dim),
        "fingerprint": fingerprint.id,
    }
