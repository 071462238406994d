"""GET /v1/models and /v1/models/{model}: what is served here."""

from typing import Any

from fastapi import APIRouter

from serve_app.auth import Organisation
from serve_app.errors import ModelNotFound
from serve_app.service import Service, attributes_of
from serve_app.state import ServiceOf

#: OpenAI's shape wants a time; a model has none that means anything here.
CREATED = 0

router = APIRouter()


@router.get("/v1/models", summary="The models served here")
async def list_models(service: ServiceOf, organisation: Organisation) -> dict[str, Any]:
    """All of them."""
    del organisation  # every organisation sees every model
    return {"object": "list", "data": [_model(service)]}


@router.get("/v1/models/{model:path}", summary="One model")
async def get_model(model: str, service: ServiceOf, organisation: Organisation) -> dict[str, Any]:
    """One of them, by its name."""
    del organisation
    require_model(service, model)
    return _model(service)


def require_model(service: Service, name: str) -> None:
    """Refuse a name that is not served.

    Raises:
        ModelNotFound: naming the one that is.
    """
    if name != service.settings.model:
        raise ModelNotFound(f"The model `{name}` does not exist here; `{service.settings.model}` does.")


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.settings.model, "object": "model", "created": CREATED, "owned_by": "embedding-cluster", **attributes_of(service)}
