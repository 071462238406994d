"""What requests about vector stores may hold, as OpenAI's API reference has it: metadata, attributes, chunking, expiry; and ours: priority.

Used by the routes of stores, their files and their batches. What Postgres or a filter could not take is refused here.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from cluster.documents.stores import LONGEST_NAME
from cluster.jobs.jobs import PriorityClass
from cluster.jobs.queue import DEFAULT_PRIORITY
from cluster.settings import Settings
from cluster.vector_index.filters import LARGEST_NUMBER
from serve_app.edge.request_model import MUST, RequestModel, Text, Whole, must

MAX_PAIRS = 16
MAX_KEY_LENGTH = 64
MAX_VALUE_LENGTH = 512
MAX_FILES = 2_000


def _scalar(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One sentence instead of one for each branch of the union."""
    try:
        value = validate(value)
    except ValidationError as exc:
        if any(error["type"] == MUST for error in exc.errors()):
            raise
        raise must(f"be a string of at most {MAX_VALUE_LENGTH} characters, a number or a boolean") from exc
    if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise must(f"be a number of at most {LARGEST_NUMBER:g}")
    return value


def _priority(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError as exc:
        raise must("be high, medium or low, or a number from 0 to 9") from exc


Name = Annotated[Text, Field(max_length=LONGEST_NAME)]
Key = Annotated[Text, Field(max_length=MAX_KEY_LENGTH)]
Metadata = Annotated[
    dict[Key, Annotated[Text, Field(max_length=MAX_VALUE_LENGTH)]], Field(max_length=MAX_PAIRS)
]
Scalar = Annotated[
    Annotated[Text, Field(max_length=MAX_VALUE_LENGTH)] | StrictBool | StrictInt | StrictFloat,
    WrapValidator(_scalar),
]
Attributes = Annotated[dict[Key, Scalar], Field(max_length=MAX_PAIRS, description="What filters can ask for")]
Priority = Annotated[
    Literal["high", "medium", "low"] | Annotated[Whole, Field(ge=0, le=9)],
    WrapValidator(_priority),
    Field(description="How urgent: a class, or a place inside the class medium, where higher goes first"),
]

FormPriority = Annotated[
    Literal["high", "medium", "low"] | Annotated[int, Field(ge=0, le=9)],
    WrapValidator(_priority),
    Field(description="The same in a form, where a number arrives as text"),
]


class Auto(RequestModel):
    """As long as the model reads."""

    type: Literal["auto"]


class StaticChunking(RequestModel):
    """Sizes in tokens."""

    max_chunk_size_tokens: Annotated[Whole, Field(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[Whole, Field(ge=0)]

    @model_validator(mode="after")
    def _overlap_is_at_most_half(self) -> Self:
        if self.chunk_overlap_tokens * 2 > self.max_chunk_size_tokens:
            raise must(
                f"have a chunk_overlap_tokens of at most half of max_chunk_size_tokens, which is {self.max_chunk_size_tokens // 2:,}"
            )
        return self


class Static(RequestModel):
    """Of a length that is asked for."""

    type: Literal["static"]
    static: StaticChunking


ChunkingStrategy = Annotated[Auto | Static, Field(discriminator="type")]


class ExpiresAfter(RequestModel):
    """How long after it was used last."""

    anchor: Literal["last_active_at"]
    days: Annotated[Whole, Field(ge=1, le=365)]


def queue_options(settings: Settings, priority: str | int | None) -> dict[str, Any]:
    """A request's priority as the ledger's functions take it."""
    return {
        "priority_class": PriorityClass(priority) if isinstance(priority, str) else PriorityClass.MEDIUM,
        "priority": priority if isinstance(priority, int) else DEFAULT_PRIORITY,
        "attempts": settings.job_attempts,
    }


def stored_json(model: BaseModel | None) -> dict[str, Any] | None:
    """As the ledger keeps it."""
    return None if model is None else model.model_dump()
