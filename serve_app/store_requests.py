"""What requests about vector stores may hold, as OpenAI's API reference has it: metadata, attributes, chunking, expiry; and ours: priority.

Used by the routes of stores, their files and their batches. What Postgres or a filter could not take is refused here.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from cluster.ledger.jobs import JobClass
from cluster.ledger.queue import DEFAULT_PRIORITY
from cluster.ledger.stores import LONGEST_NAME
from cluster.settings import Settings
from cluster.vector_index.filters import LARGEST_NUMBER, is_text

MAX_PAIRS = 16
MAX_KEY_LENGTH = 64
MAX_VALUE_LENGTH = 512
MAX_FILES = 2_000


def _storable(text: str) -> str:
    if not is_text(text):
        raise PydanticCustomError("text", "must hold no NUL character and no half of a surrogate pair")
    return text


def _scalar(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One sentence instead of one for each branch of the union."""
    try:
        value = validate(value)
    except ValidationError as exc:
        raise PydanticCustomError(
            "attribute", "must be a string of at most {longest} characters, a number or a boolean", {"longest": MAX_VALUE_LENGTH}
        ) from exc
    if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise PydanticCustomError("attribute", "must be a number of at most {largest}", {"largest": LARGEST_NUMBER})
    return value


def _priority(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError as exc:
        raise PydanticCustomError("priority", "must be high, medium or low, or a number from 0 to 9") from exc


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[Text, Field(max_length=LONGEST_NAME)]
Key = Annotated[Text, Field(max_length=MAX_KEY_LENGTH)]
Metadata = Annotated[dict[Key, Annotated[Text, Field(max_length=MAX_VALUE_LENGTH)]], Field(max_length=MAX_PAIRS)]
Scalar = Annotated[
    Annotated[StrictStr, Field(max_length=MAX_VALUE_LENGTH), AfterValidator(_storable)] | StrictBool | StrictInt | StrictFloat,
    WrapValidator(_scalar),
]
Attributes = Annotated[dict[Key, Scalar], Field(max_length=MAX_PAIRS, description="What filters can ask for")]
Priority = Annotated[
    Literal["high", "medium", "low"] | Annotated[StrictInt, Field(ge=0, le=9)],
    WrapValidator(_priority),
    Field(description="How urgent: a class, or a place inside the class medium, where higher goes first"),
]

FormPriority = Annotated[
    Literal["high", "medium", "low"] | Annotated[int, Field(ge=0, le=9)],
    WrapValidator(_priority),
    Field(description="The same in a form, where a number arrives as text"),
]


class Auto(BaseModel):
    """As long as the model reads."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["auto"]


class StaticChunking(BaseModel):
    """Sizes in tokens."""

    model_config = ConfigDict(extra="forbid")

    max_chunk_size_tokens: Annotated[StrictInt, Field(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[StrictInt, Field(ge=0)]

    @model_validator(mode="after")
    def _overlap_is_at_most_half(self) -> Self:
        if self.chunk_overlap_tokens * 2 > self.max_chunk_size_tokens:
            raise PydanticCustomError("overlap", "chunk_overlap_tokens must not exceed half of max_chunk_size_tokens")
        return self


class Static(BaseModel):
    """Of a length that is asked for."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["static"]
    static: StaticChunking


ChunkingStrategy = Annotated[Auto | Static, Field(discriminator="type")]


class ExpiresAfter(BaseModel):
    """How long after it was used last."""

    model_config = ConfigDict(extra="forbid")

    anchor: Literal["last_active_at"]
    days: Annotated[StrictInt, Field(ge=1, le=365)]


def urgency(settings: Settings, priority: str | int | None) -> dict[str, Any]:
    """A request's priority as the ledger's functions take it."""
    return {
        "job_class": JobClass(priority) if isinstance(priority, str) else JobClass.MEDIUM,
        "priority": priority if isinstance(priority, int) else DEFAULT_PRIORITY,
        "attempts": settings.job_attempts,
    }


def dumped(model: BaseModel | None) -> dict[str, Any] | None:
    """As the ledger keeps it."""
    return None if model is None else model.model_dump()
