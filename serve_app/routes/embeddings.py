"""POST /v1/embeddings, as OpenAI's API reference describes it, and what its users ask for beyond.

Inputs that are too long are refused, cut or averaged in parts, and it is always said which: in a field of each, in a header
and in a counter.
"""

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field
from starlette.responses import Response

from cluster.errors import InvalidInput
from cluster.text.well_formed import json_bytes
from serve_app.edge.compatibility_fields import (
    OF_IMAGES,
    QUEUEING,
    CutFields,
    EachAlone,
    OneVector,
    UnitLength,
    WithSpecialTokens,
    one_of,
)
from serve_app.edge.json_route import IGNORED_HEADER, json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import PositiveWhole
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.inputs import Input, TokenIds, as_list, as_texts, is_one, own_ids
from serve_app.embedding.long_inputs import INPUT, LONE_INPUT, Overflow
from serve_app.embedding.output import (
    TYPES,
    EmbeddingType,
    EncodingFormat,
    OutputDtype,
    as_dtype,
    cut,
    encoded,
)
from serve_app.embedding.prompts import model_and_kind, prompt_of
from serve_app.embedding.served_model import Made, RequestContext, ServedModel
from serve_app.service import Service

router = json_router(404, 429)

#: vLLM's names for the numbers behind base64.
DTYPES: dict[str, OutputDtype] = {"float32": "float", "float16": "float16"}


class FieldsOfOthers(CutFields):
    """What Voyage, Jina, Cohere and vLLM call fields of ours."""

    CHANGES_NOTHING = frozenset({"user", *QUEUEING, *OF_IMAGES})

    output_dimension: Annotated[PositiveWhole | None, Field(description="Voyage's name for `dimensions`")] = (
        None
    )
    embedding_type: Annotated[
        EmbeddingType | list[EmbeddingType] | None, Field(description="Jina's for both formats; one")
    ] = None
    embedding_types: Annotated[
        list[EmbeddingType] | None, Field(description="Cohere's name for `embedding_type`; one")
    ] = None
    embed_dtype: Annotated[
        Literal["float32", "float16"] | None, Field(description="vLLM's name for `output_dtype`")
    ] = None
    endianness: Annotated[
        Literal["native", "little"] | None, Field(description="vLLM's; base64 holds little-endian numbers")
    ] = None
    task: Annotated[str | None, Field(description="Jina's name for `input_type`")] = None
    normalize: UnitLength | None = None
    normalized: UnitLength | None = None
    use_activation: UnitLength | None = None
    add_special_tokens: WithSpecialTokens | None = None
    late_chunking: EachAlone | None = None
    return_multivector: OneVector | None = None

    def type(self) -> EmbeddingType | None:
        """The one embedding type asked for.

        Raises:
            InvalidInput: several are.
        """
        alone = self.embedding_type if isinstance(self.embedding_type, str) else None
        listed = self.embedding_type if isinstance(self.embedding_type, list) else self.embedding_types
        if listed is None:
            return alone
        if len(listed) != 1 or alone not in (None, listed[0]):
            raise InvalidInput(
                "embedding_type names several types, and one is written here; name one, or use /v2/embed",
                param="embedding_type",
            )
        return listed[0]


class EmbeddingRequest(FieldsOfOthers):
    """OpenAI's CreateEmbeddingRequest, after ``user`` fields of ours, and those of others."""

    input: Input
    model: Annotated[
        str, Field(description="One of /v1/models; `-query` or `-passage` behind it chooses that prompt")
    ]
    encoding_format: EncodingFormat | None = None
    dimensions: Annotated[
        PositiveWhole | None, Field(description="Cut to this length and brought back to unit length")
    ] = None
    user: Annotated[str | None, Field(description="Changes nothing here")] = None
    output_dtype: Annotated[
        OutputDtype | None, Field(description="Type of the numbers; base64 holds them little-endian")
    ] = None
    overflow: Annotated[Overflow | None, Field(description="What becomes of an input that is too long")] = (
        None
    )
    input_type: Annotated[
        str | None, Field(description="query, document and others: chooses the model's prompt")
    ] = None
    prompt_name: Annotated[str | None, Field(description="The model's prompt of this name")] = None
    token_ids: Annotated[
        TokenIds, Field(description="Whose ids token arrays hold: OpenAI's cl100k_base or the model's own")
    ] = "cl100k"  # noqa: S105

    def written(self) -> tuple[OutputDtype, EncodingFormat]:
        """The type of the numbers and how they are written.

        Raises:
            InvalidInput: two fields say different things about it.
        """
        type = self.type()
        if type is None and self.embed_dtype is None:
            return self.output_dtype or "float", self.encoding_format or "float"
        dtype, format = (None, None) if type is None else TYPES[type]
        theirs = None if self.embed_dtype is None else DTYPES[self.embed_dtype]
        return (
            one_of(output_dtype=self.output_dtype, embed_dtype=theirs, embedding_type=dtype) or "float",
            one_of(encoding_format=self.encoding_format, embedding_type=format) or "float",
        )


@router.post("/v1/embeddings", summary="Vectors of texts")
async def create_embeddings(body: EmbeddingRequest, service: ServiceDep, context: ContextDep) -> Response:
    """One vector for each input, in the order given, and the tokens the model read."""
    model, kind = model_and_kind(service, body.model)
    dimensions = one_of(dimensions=body.dimensions, output_dimension=body.output_dimension)
    check_dimensions(
        service, model, dimensions, field="output_dimension" if body.dimensions is None else "dimensions"
    )
    dtype, format = body.written()
    made = await _made(service, model, body, kind, context)
    vectors = as_dtype(cut(made.vectors, dimensions), dtype)
    data = [_item(index, encoded(vector, format), made) for index, vector in enumerate(vectors)]
    tokens = sum(made.token_counts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_response({"object": "list", "data": data, "model": body.model, "usage": usage}, made)


class AzureEmbeddingRequest(EmbeddingRequest):
    """The same as Azure has it: the path names the model."""

    model: str = ""


@router.post(
    "/openai/deployments/{deployment:path}/embeddings", summary="Vectors of texts, under Azure OpenAI's path"
)
async def create_azure_embeddings(
    deployment: str,
    body: AzureEmbeddingRequest,
    service: ServiceDep,
    context: ContextDep,
    api_version: Annotated[
        str | None, Query(alias="api-version", description="Any: the answer is the same for all")
    ] = None,
) -> Response:
    """As POST /v1/embeddings, with the model's name as that of the deployment."""
    del api_version
    response = await create_embeddings(body.model_copy(update={"model": deployment}), service, context)
    if body.model not in {"", deployment}:
        response.headers[IGNORED_HEADER] = "model"
    return response


async def _made(
    service: Service, model: ServedModel, body: EmbeddingRequest, kind: str | None, context: RequestContext
) -> Made:
    inputs, named = as_list(body.input), LONE_INPUT if is_one(body.input) else INPUT
    long = body.long(
        service.settings.overflow_by_model.get(model.name, service.settings.overflow), overflow=body.overflow
    )
    asked = one_of(input_type=body.input_type, task=body.task)
    prompt = prompt_of(
        model,
        input_type=asked or (None if body.prompt_name else kind),
        prompt_name=body.prompt_name,
        field="input_type" if body.task is None else "task",
    )
    if body.token_ids == "model" and not isinstance(inputs[0], str):  # noqa: S105  not that kind of token
        if prompt:
            raise InvalidInput(
                "a prompt is text: it cannot stand before the model's own token ids", param="token_ids"
            )
        ids = own_ids(inputs, named, vocabulary=model.engine.tokeniser.vocabulary_size)
        return await model.embed_ids(ids, context, long=long, named=named)
    return await model.embed_texts(
        as_texts(inputs, named, service.decode), context, prompt=prompt, long=long, named=named
    )


def check_dimensions(
    service: Service, model: ServedModel, wanted: int | None, *, field: str = "dimensions"
) -> None:
    """Refuse lengths the model was not trained for.

    Raises:
        InvalidInput: naming those it was, or its full length where the setting allows all below.
    """
    if wanted is None or wanted in model.engine.dimensions:
        return
    dim = model.engine.fingerprint.dim
    if wanted > dim:
        raise InvalidInput(f"{field} is {wanted}, but the vectors of {model.name} have {dim}", param=field)
    if not service.settings.any_dimensions:
        trained = " or ".join(map(str, model.engine.dimensions))
        raise InvalidInput(
            f"{field} is {wanted}, but {model.name} was trained for {trained}; leave it out", param=field
        )


def json_response(answer: dict[str, Any] | list[Any], made: Made) -> Response:
    """The body, written from arrays: no vector ever becomes a list of Python numbers. Headers tell of long inputs."""
    headers = {}
    if truncated := sum(map(bool, made.truncated)):
        headers["x-truncated-inputs"] = str(truncated)
    if averaged := sum(parts > 1 for parts in made.parts):
        headers["x-averaged-inputs"] = str(averaged)
    return Response(json_bytes(answer), media_type="application/json", headers=headers)


def _item(index: int, embedding: Any, made: Made) -> dict[str, Any]:
    item = {"object": "embedding", "index": index, "embedding": embedding}
    if made.truncated[index]:
        item["truncated_tokens"] = made.truncated[index]
    if made.parts[index] > 1:
        item["averaged_parts"] = made.parts[index]
    return item
