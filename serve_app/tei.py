"""POST /embed, as Hugging Face's text-embeddings-inference has it: for callers that move here. Errors are in OpenAI's shape."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cluster.errors import InvalidInput
from serve_app.description import refusals
from serve_app.embeddings import check_dimensions, json_response
from serve_app.inputs import as_list
from serve_app.output import cut
from serve_app.prompts import prompt_of
from serve_app.served_model import Side
from serve_app.state import ServiceOf
from serve_app.terms import Terms

router = APIRouter(responses=refusals(429))

SIDES: dict[str, Side] = {"left": "start", "right": "end"}


class EmbedRequest(BaseModel):
    """TEI's EmbedRequest, for the settings' own model."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[str | list[str], Field(union_mode="left_to_right")]
    normalize: bool = True
    truncate: bool | None = False
    truncation_direction: Annotated[str, Field(pattern="^([Ll]eft|[Rr]ight)$")] = "right"
    prompt_name: str | None = None
    dimensions: Annotated[int | None, Field(ge=1)] = None


@router.post("/embed", summary="Vectors of texts, in TEI's shape")
async def embed(body: EmbedRequest, service: ServiceOf, terms: Terms) -> Response:
    """A list of vectors and nothing else."""
    if not body.normalize:
        raise InvalidInput("normalize is false, but vectors have unit length here, always", param="normalize")
    model = service.main
    check_dimensions(service, model, body.dimensions)
    texts = [str(text) for text in as_list(body.inputs)]
    prompt = prompt_of(model, input_type=None, prompt_name=body.prompt_name)
    side = SIDES[body.truncation_direction.lower()]
    made = await model.embed_texts(texts, terms, prompt=prompt, overflow="truncate" if body.truncate else "error", side=side)
    return json_response(list(cut(made.vectors, body.dimensions)), made)
