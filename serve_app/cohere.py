"""POST /v2/embed, as Cohere has it: for callers that move here. Errors are in OpenAI's shape."""

from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from serve_app.description import refusals
from serve_app.embeddings import check_dimensions, json_response
from serve_app.inputs import as_list
from serve_app.output import EncodingFormat, OutputDtype, as_dtype, cut, encoded
from serve_app.prompts import model_and_kind, prompt_of
from serve_app.served_model import Overflow, Side
from serve_app.state import ServiceOf
from serve_app.terms import Terms

router = APIRouter(responses=refusals(404, 429))

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
#: Cohere's names to the type of the numbers and how they are written.
TYPES: dict[EmbeddingType, tuple[OutputDtype, EncodingFormat]] = {
    "float": ("float", "float"),
    "int8": ("int8", "float"),
    "uint8": ("uint8", "float"),
    "binary": ("binary", "float"),
    "ubinary": ("ubinary", "float"),
    "base64": ("float", "base64"),
}
OVERFLOWS: dict[str, tuple[Overflow, Side]] = {"NONE": ("error", "end"), "START": ("truncate", "start"), "END": ("truncate", "end")}


class CohereEmbedRequest(BaseModel):
    """Cohere's v2 embed request, for texts."""

    model_config = ConfigDict(extra="forbid")

    model: str
    texts: list[str]
    input_type: str
    embedding_types: Annotated[list[EmbeddingType], Field(min_length=1)] = ["float"]
    output_dimension: Annotated[int | None, Field(ge=1)] = None
    truncate: Literal["NONE", "START", "END"] = "END"


@router.post("/v2/embed", summary="Vectors of texts, in Cohere's shape")
async def embed(body: CohereEmbedRequest, service: ServiceOf, terms: Terms) -> Response:
    """Each type asked for, of the same vectors."""
    model, _ = model_and_kind(service, body.model)
    check_dimensions(service, model, body.output_dimension)
    overflow, side = OVERFLOWS[body.truncate]
    texts = [str(text) for text in as_list(body.texts)]
    prompt = prompt_of(model, input_type=body.input_type, prompt_name=None)
    made = await model.embed_texts(texts, terms, prompt=prompt, overflow=overflow, side=side)
    vectors = cut(made.vectors, body.output_dimension)
    embeddings: dict[str, list[Any]] = {}
    for name in body.embedding_types:
        dtype, format = TYPES[name]
        embeddings[name] = [encoded(vector, format) for vector in as_dtype(vectors, dtype)]
    meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": sum(made.token_counts)}}
    answer = {"id": str(uuid4()), "embeddings": embeddings, "texts": body.texts, "meta": meta, "response_type": "embeddings_by_type"}
    return json_response(answer, made)
