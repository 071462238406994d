"""POST /v1/embeddings as in OpenAI's API, with more output types, prompts and rules for long inputs.

An input that is too long is refused, cut, or divided into parts whose vectors are averaged. Every cut and
every average is reported in a field of the input's result, in a header and in a metric.
"""

from typing import Annotated, Any, Literal

from fastapi import Query
from starlette.responses import Response

from cluster.errors import InvalidInput
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
from serve_app.edge.response_model import Omissible, ResponseModel, json_response
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.inputs import Input, TokenIds, as_list, as_texts, is_one, own_ids
from serve_app.embedding.long_inputs import INPUT, SINGLE_INPUT, Overflow
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
from serve_app.embedding.served_model import EmbeddedInputs, RequestContext, ServedModel
from serve_app.service import Service

router = json_router(404, 429)

#: For each value of vLLM's field ``embed_dtype``, the value of ``output_dtype`` with the same meaning.
DTYPES: dict[str, OutputDtype] = {"float32": "float", "float16": "float16"}


class CompatibilityFields(CutFields):
    """Fields that other servers' clients send. Most are other names for fields of ``EmbeddingRequest``."""

    CHANGES_NOTHING = frozenset({"user", *QUEUEING, *OF_IMAGES})

    output_dimension: PositiveWhole | None = None
    """Voyage's name for `dimensions`."""
    embedding_type: EmbeddingType | list[EmbeddingType] | None = None
    """Jina's name for `output_dtype` and `encoding_format` together; a list must have exactly one type."""
    embedding_types: list[EmbeddingType] | None = None
    """Cohere's name for `embedding_type`; the list must have exactly one type."""
    embed_dtype: Literal["float32", "float16"] | None = None
    """vLLM's name for `output_dtype`."""
    endianness: Literal["native", "little"] | None = None
    """Field of vLLM, without effect: the numbers in base64 are always little-endian."""
    task: str | None = None
    """Jina's name for `input_type`."""
    normalize: UnitLength | None = None
    normalized: UnitLength | None = None
    use_activation: UnitLength | None = None
    add_special_tokens: WithSpecialTokens | None = None
    late_chunking: EachAlone | None = None
    return_multivector: OneVector | None = None

    def type(self) -> EmbeddingType | None:
        """Return the embedding type that the request names; None if the request names no type.

        Raises:
            InvalidInput: a list of types is empty, or the request names several types.
        """
        single = self.embedding_type if isinstance(self.embedding_type, str) else None
        types = self.embedding_type if isinstance(self.embedding_type, list) else self.embedding_types
        if types is None:
            return single
        if len(types) != 1 or single not in (None, types[0]):
            raise InvalidInput(
                "embedding_type names several types, but this path returns one; name one, or use /v2/embed",
                param="embedding_type",
            )
        return types[0]


class EmbeddingRequest(CompatibilityFields):
    """OpenAI's CreateEmbeddingRequest, with the fields after `user` and the fields of other servers added."""

    input: Input
    """A text, a list of texts, an array of token ids, or a list of such arrays."""
    model: str
    """Name of the model, one of `/v1/models`; the suffix `-query` or `-passage` also selects the
    model's prompt for queries or for passages."""
    encoding_format: EncodingFormat | None = None
    """`float` (the default) returns a list of numbers; `base64` returns the numbers as bytes in base64."""
    dimensions: PositiveWhole | None = None
    """Number of dimensions to which the vectors are cut; cut vectors are scaled to unit length."""
    user: str | None = None
    """Accepted for OpenAI's clients, without effect."""
    output_dtype: OutputDtype | None = None
    """Type of the numbers, `float` by default; in base64, the numbers are little-endian."""
    overflow: Overflow | None = None
    """The rule for inputs that are too long: `error` refuses the input, `truncate` cuts the input, and
    `mean` averages the vectors of the input's parts."""
    input_type: str | None = None
    """Kind of the texts, such as `query` or `document`, which selects the model's prompt."""
    prompt_name: str | None = None
    """Name of the model's prompt, one of `prompts` in `/v1/models`."""
    token_ids: TokenIds = "cl100k"  # noqa: S105
    """Vocabulary of token ids in `input`: OpenAI's `cl100k`, or `model` for the model's own vocabulary."""

    def output_format(self) -> tuple[OutputDtype, EncodingFormat]:
        """Return the type of the numbers and their encoding.

        Raises:
            InvalidInput: two fields contradict each other, or the request names several types.
        """
        type = self.type()
        if type is None and self.embed_dtype is None:
            return self.output_dtype or "float", self.encoding_format or "float"
        dtype, format = (None, None) if type is None else TYPES[type]
        vllm_dtype = None if self.embed_dtype is None else DTYPES[self.embed_dtype]
        return (
            one_of(output_dtype=self.output_dtype, embed_dtype=vllm_dtype, embedding_type=dtype) or "float",
            one_of(encoding_format=self.encoding_format, embedding_type=format) or "float",
        )


class EmbeddingObject(ResponseModel):
    """OpenAI's Embedding, with `truncated_tokens` and `averaged_parts` added."""

    object: Literal["embedding"] = "embedding"
    """Always `embedding`."""
    index: int
    """Position of the input in the request, counted from 0."""
    embedding: list[float] | str
    """The vector as a list of numbers, or as the bytes of the numbers in base64."""
    truncated_tokens: Omissible[int] = None
    """Number of tokens that were cut off; left out if nothing was cut off."""
    averaged_parts: Omissible[int] = None
    """Number of parts whose vectors were averaged; left out if the input was not divided."""


class TokenUsage(ResponseModel):
    """The tokens of a request."""

    prompt_tokens: int
    """Number of tokens that the model read, special tokens and prompts included."""
    total_tokens: int
    """The same number as `prompt_tokens`."""


class EmbeddingResponse(ResponseModel):
    """OpenAI's CreateEmbeddingResponse."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[EmbeddingObject]
    """One vector for each input, in the order of the inputs."""
    model: str
    """Name of the model, as requested."""
    usage: TokenUsage
    """The tokens that the model read."""


@router.post("/v1/embeddings", summary="Embed texts", response_model=EmbeddingResponse)
async def create_embeddings(body: EmbeddingRequest, service: ServiceDep, context: ContextDep) -> Response:
    """Returns one vector for each input, in the order of the inputs, and the number of tokens read."""
    answer, made = await embed_request(body, service, context)
    return embeddings_response(answer, made)


async def embed_request(
    body: EmbeddingRequest, service: Service, context: RequestContext
) -> tuple[dict[str, Any], EmbeddedInputs]:
    """Embed the inputs of the request. Return the fields of the answer, and the inputs with their vectors
    before the vectors are cut to the requested dimensions.

    Raises:
        InvalidInput: a field of the request is wrong, or an input is too long.
        ModelNotFound: the model is not served.
        NotPermitted: the caller's key does not allow the model.
        Retryable: the model cannot answer now, for example because too many tokens wait already.
        Misconfigured: an operator must change something, such as the key of a provider.
    """
    model, kind = model_and_kind(service.models, body.model)
    dimensions = one_of(dimensions=body.dimensions, output_dimension=body.output_dimension)
    check_dimensions(
        service, model, dimensions, field="output_dimension" if body.dimensions is None else "dimensions"
    )
    dtype, format = body.output_format()
    made = await _made(service, model, body, kind, context)
    vectors = as_dtype(cut(made.vectors, dimensions), dtype)
    data = [_item(index, encoded(vector, format), made) for index, vector in enumerate(vectors)]
    tokens = sum(made.token_counts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.model, "usage": usage}, made


class AzureEmbeddingRequest(EmbeddingRequest):
    """The embedding request of Azure OpenAI. The path of the request names the model."""

    model: str = ""
    """Ignored, because the path names the model."""


@router.post(
    "/openai/deployments/{deployment:path}/embeddings",
    summary="Embed texts, under Azure OpenAI's path",
    response_model=EmbeddingResponse,
)
async def create_azure_embeddings(
    deployment: str,
    body: AzureEmbeddingRequest,
    service: ServiceDep,
    context: ContextDep,
    api_version: Annotated[
        str | None,
        Query(alias="api-version", description="Accepted with any value; the answer is always the same"),
    ] = None,
) -> Response:
    """Returns the same as POST /v1/embeddings. The name of the deployment is the name of the model."""
    del api_version
    response = await create_embeddings(body.model_copy(update={"model": deployment}), service, context)
    if body.model not in {"", deployment}:
        response.headers[IGNORED_HEADER] = "model"
    return response


async def _made(
    service: Service, model: ServedModel, body: EmbeddingRequest, kind: str | None, context: RequestContext
) -> EmbeddedInputs:
    inputs, named = as_list(body.input), SINGLE_INPUT if is_one(body.input) else INPUT
    long = body.long(
        service.settings.overflow_by_model.get(model.name, service.settings.overflow), overflow=body.overflow
    )
    kind_of_text = one_of(input_type=body.input_type, task=body.task)
    prompt = prompt_of(
        model,
        input_type=kind_of_text or (None if body.prompt_name else kind),
        prompt_name=body.prompt_name,
        field="input_type" if body.task is None else "task",
    )
    if body.token_ids == "model" and not isinstance(inputs[0], str):  # noqa: S105  not a password
        if prompt:
            raise InvalidInput(
                "a prompt is a text, so it cannot be put before the model's own token ids;"
                " send texts, or leave the prompt out",
                param="token_ids",
            )
        ids = own_ids(inputs, named, vocabulary=model.engine.tokeniser.vocabulary_size)
        return await model.embed_ids(ids, context, long=long, named=named)
    return await model.embed_texts(
        as_texts(inputs, named, service.decode), context, prompt=prompt, long=long, named=named
    )


def check_dimensions(
    service: Service, model: ServedModel, wanted: int | None, *, field: str = "dimensions"
) -> None:
    """Refuse dimensions that the model was not trained for, unless CLUSTER_ANY_DIMENSIONS allows any
    smaller number of dimensions.

    Raises:
        InvalidInput: the request may not ask for these dimensions; the message names the possible numbers.
    """
    if wanted is None or wanted in model.engine.dimensions:
        return
    dim = model.engine.fingerprint.dim
    if wanted > dim:
        raise InvalidInput(
            f"{field} is {wanted}, but the vectors of {model.name} have {dim} numbers; ask for at most {dim}",
            param=field,
        )
    if not service.settings.any_dimensions:
        trained = " or ".join(map(str, model.engine.dimensions))
        raise InvalidInput(
            f"{field} is {wanted}, but {model.name} was trained for {trained};"
            " send one of these, or leave it out",
            param=field,
        )


def embeddings_response(answer: dict[str, Any] | list[Any], made: EmbeddedInputs) -> Response:
    """Build the response. If inputs were cut or averaged, headers give the numbers of these inputs."""
    headers = {}
    if truncated := sum(map(bool, made.truncated)):
        headers["x-truncated-inputs"] = str(truncated)
    if averaged := sum(parts > 1 for parts in made.parts):
        headers["x-averaged-inputs"] = str(averaged)
    return json_response(answer, headers=headers)


def _item(index: int, embedding: Any, made: EmbeddedInputs) -> dict[str, Any]:
    item = {"object": "embedding", "index": index, "embedding": embedding}
    if made.truncated[index]:
        item["truncated_tokens"] = made.truncated[index]
    if made.parts[index] > 1:
        item["averaged_parts"] = made.parts[index]
    return item
