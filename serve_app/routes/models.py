"""GET /v1/models and /v1/models/{model}: the models that this endpoint serves.

An answer shows the kind of a model. It never shows where the model comes from, its base URL or the name of
the environment variable with its key.
"""

from typing import Literal, Self

from cluster.organisations.caller import current_caller
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.output import int8_range
from serve_app.embedding.served_model import ServedModel

router = json_router(404)


class ModelObject(ResponseModel):
    """OpenAI's Model, with the fields after `owned_by` added. Clients need these to use the vectors."""

    id: str
    """Name of the model, as requests send it."""
    object: Literal["model"] = "model"
    """Always `model`."""
    created: Literal[0] = 0
    """Always 0, because OpenAI's schema requires a time and a served model has no time of creation."""
    owned_by: Literal["embedding-cluster"] = "embedding-cluster"
    """Always `embedding-cluster`."""
    kind: str
    """How the vectors are computed: `local` and `sentence-transformers` compute in this cluster; with
    `openai`, the texts are sent to a server that the operator chose."""
    dimensions: int
    """Number of dimensions of the model's vectors."""
    trained_dimensions: list[int]
    """Numbers of dimensions that the model was trained for; a request may choose one in `dimensions`."""
    max_input_tokens: int
    """Maximum number of tokens of an input, special tokens included."""
    max_model_len: int
    """The same number as `max_input_tokens`, for vLLM's clients."""
    context_length: int
    """The same number as `max_input_tokens`, for model routers."""
    prompts: dict[str, str]
    """The model's prompts by name; `prompt_name` or `input_type` of a request selects a prompt."""
    int8_range: float
    """The number that `output_dtype` `int8` writes as 127."""
    fingerprint: str
    """Id of the vectors' space: vectors with the same fingerprint can be compared."""

    @classmethod
    def of(cls, model: ServedModel, kind: str) -> Self:
        """Convert the served model into the object that answers contain; ``kind`` is the kind of engine."""
        fingerprint = model.engine.fingerprint
        return cls(
            id=model.name,
            kind=kind,
            dimensions=fingerprint.dim,
            trained_dimensions=list(model.engine.dimensions),
            max_input_tokens=fingerprint.max_tokens,
            max_model_len=fingerprint.max_tokens,
            context_length=fingerprint.max_tokens,
            prompts=dict(model.engine.prompts),
            int8_range=int8_range(fingerprint.dim),
            fingerprint=fingerprint.id,
        )


class ModelList(ResponseModel):
    """The served models."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[ModelObject]
    """The models."""


@router.get("/v1/models", summary="List models")
async def list_models(service: ServiceDep, organisation: Organisation) -> ModelList:
    """Lists the models that this endpoint serves and that the caller's key allows."""
    del organisation  # all organisations see the same models; only a key can limit the list
    permitted = current_caller().models
    return ModelList(
        data=[
            ModelObject.of(model, service.models.kinds[name])
            for name, model in service.models.items()
            if permitted is None or name in permitted
        ]
    )


@router.get("/v1/models/{model:path}", summary="Get a model")
async def get_model(model: str, service: ServiceDep, organisation: Organisation) -> ModelObject:
    """Returns the model with this name."""
    del organisation
    found = service.models.named(model)
    return ModelObject.of(found, service.models.kinds[found.name])
