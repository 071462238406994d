"""The fields that requests about vector stores share, such as metadata, attributes and priority.

The routes of vector stores, their files and their file batches use these types. The types refuse values that
Postgres could not store or a filter could not test.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, Self

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

from cluster.documents.vector_stores.store_usage import FileCounts
from cluster.documents.vector_stores.stores import LONGEST_NAME
from cluster.errors import InvalidInput
from cluster.formats.recognition import OcrMode
from cluster.jobs.jobs import PriorityClass
from cluster.jobs.queue import DEFAULT_PRIORITY
from cluster.records import LARGEST_NUMBER, MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES
from cluster.settings import Settings
from cluster.settings.documents import MAX_OCR_LANGUAGES, OCR_LANGUAGES
from serve_app.edge.request_model import RequestModel, Text, Whole
from serve_app.edge.response_model import ResponseModel
from serve_app.messages import MUST, must

MAX_FILES = 2_000


def _scalar(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Validate the value of an attribute. If the value has a wrong type, raise one error for the whole union
    instead of one error for each type. Refuse numbers that are too large for a filter.
    """
    try:
        value = validate(value)
    except ValidationError as exc:
        if any(error["type"] == MUST for error in exc.errors()):
            raise
        raise must(f"be a string of at most {MAX_ATTRIBUTE_VALUE} characters, a number or a boolean") from exc
    if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise must(f"be a number of at most {LARGEST_NUMBER:g}")
    return value


def _priority(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError as exc:
        raise must("be high, medium or low, or a number from 0 to 9") from exc


Name = Annotated[Text, Field(max_length=LONGEST_NAME)]
Key = Annotated[Text, Field(max_length=MAX_ATTRIBUTE_NAME)]
Value = Annotated[Text, Field(max_length=MAX_ATTRIBUTE_VALUE)]
Metadata = Annotated[
    dict[Key, Value],
    Field(
        max_length=MAX_ATTRIBUTES,
        description=f"Up to {MAX_ATTRIBUTES} named texts, which are stored and returned unchanged",
    ),
]
Scalar = Annotated[Value | StrictBool | StrictInt | StrictFloat, WrapValidator(_scalar)]
Attributes = Annotated[
    dict[Key, Scalar],
    Field(
        max_length=MAX_ATTRIBUTES,
        description=f"Up to {MAX_ATTRIBUTES} named values that filters can test",
    ),
]
PRIORITY_DESCRIPTION = (
    "0 to 9: of your queued jobs of one priority class, those with a higher number begin first. The older"
    " form, in which it is the priority class itself, is still accepted"
)
PRIORITY_CLASS_DESCRIPTION = (
    "Urgency of the job: `high` (a person waits), `medium` (the default), `low` (bulk) or `scheduled`"
)
Priority = Annotated[
    Literal["high", "medium", "low"] | Annotated[Whole, Field(ge=0, le=9)],
    WrapValidator(_priority),
    Field(description=PRIORITY_DESCRIPTION),
]
#: The same as ``Priority``, for fields of a form, in which numbers arrive as text.
FormPriority = Annotated[
    Literal["high", "medium", "low"] | Annotated[int, Field(ge=0, le=9)],
    WrapValidator(_priority),
    Field(description=PRIORITY_DESCRIPTION),
]

RequestedClass = Annotated[PriorityClass, Field(strict=False, description=PRIORITY_CLASS_DESCRIPTION)]


#: Minimum chunk size in OpenAI's schema, in tokens.
MIN_CHUNK_SHOWN = 100


class AutoChunkingRequest(RequestModel):
    """The chunking strategy `auto`, with chunks of the default length for the model."""

    type: Literal["auto"]
    """Always `auto`."""


class ChunkSizesRequest(RequestModel):
    """The sizes of chunks, in tokens."""

    max_chunk_size_tokens: Annotated[Whole, Field(ge=100, le=4096)]
    """Maximum number of tokens of a chunk; the model's own limit also applies."""
    chunk_overlap_tokens: Annotated[Whole, Field(ge=0)]
    """Number of tokens that neighbouring chunks share; at most half of `max_chunk_size_tokens`."""

    @model_validator(mode="after")
    def _overlap_is_at_most_half(self) -> Self:
        if self.chunk_overlap_tokens * 2 > self.max_chunk_size_tokens:
            raise must(
                "have a chunk_overlap_tokens of at most half of max_chunk_size_tokens,"
                f" which is {self.max_chunk_size_tokens // 2:,}"
            )
        return self


class StaticChunkingRequest(RequestModel):
    """The chunking strategy `static`, with chunks of the length that the request sets."""

    type: Literal["static"]
    """Always `static`."""
    static: ChunkSizesRequest
    """The sizes of the chunks."""


class NamedChunkingRequest(RequestModel):
    """A chunking strategy of this server. `headings` begins a chunk at each heading, and puts the headings of
    its section before each chunk. `semantic` begins a chunk where the subject changes. `none` makes one chunk
    of each page that the model can read as a whole.
    """

    type: Literal["headings", "semantic", "none"]
    """`headings`, `semantic` or `none`."""


ChunkingStrategy = Annotated[
    AutoChunkingRequest | StaticChunkingRequest | NamedChunkingRequest,
    Field(discriminator="type", description="How documents are cut into chunks; `auto` by default"),
]


class OcrFields(RequestModel):
    """The options of optical character recognition that a request chooses for a vector store or a file."""

    ocr: OcrMode | None = None
    """When Tesseract recognises the text of pages: `auto`, pages without readable text; `off`, no page;
    `force`, all pages. The default is the mode of the vector store for a file, and the mode of the workers
    for a vector store."""
    ocr_languages: Annotated[Text, Field(pattern=OCR_LANGUAGES, max_length=MAX_OCR_LANGUAGES)] | None = None
    """One to eight languages of the text to recognise, as Tesseract names them: `deu+eng`. The workers need
    the data of each language. The default is chosen as for `ocr`."""


class StoreExpiryRequest(RequestModel):
    """The rule that a vector store expires some days after its last use."""

    anchor: Literal["last_active_at"]
    """Always `last_active_at`: the time of the last search or attachment."""
    days: Annotated[Whole, Field(ge=1, le=365)]
    """Days after the anchor."""


class ChunkSizes(ResponseModel):
    """The sizes of chunks, in tokens."""

    max_chunk_size_tokens: int
    """Maximum number of tokens of a chunk."""
    chunk_overlap_tokens: int
    """Number of tokens that neighbouring chunks share."""


class AutoChunking(ResponseModel):
    """The chunking strategy `auto`, with chunks of the default length for the model."""

    type: Literal["auto"] = "auto"
    """Always `auto`."""


class StaticChunking(ResponseModel):
    """The chunking strategy `static`, with chunks of a length that a request has set."""

    type: Literal["static"] = "static"
    """Always `static`."""
    static: ChunkSizes
    """The sizes of the chunks."""


class NamedChunking(ResponseModel):
    """A chunking strategy of this server, without sizes."""

    type: Literal["headings", "semantic", "none"]
    """`headings`, `semantic` or `none`."""


class OtherChunking(ResponseModel):
    """The chunking strategy of chunks that are shorter than OpenAI's schema can express; `chunking` has
    the sizes of these chunks.
    """

    type: Literal["other"] = "other"
    """Always `other`."""


def chunking_of(strategy: Mapping[str, Any] | None) -> AutoChunking | StaticChunking | NamedChunking:
    """Convert a stored strategy into the object that answers contain; None means ``auto``."""
    if strategy is None or strategy["type"] == "auto":
        return AutoChunking()
    if strategy["type"] == "static":
        return StaticChunking.model_validate(strategy)
    return NamedChunking.model_validate(strategy)


class FileCountsObject(ResponseModel):
    """Numbers of files by status."""

    in_progress: int
    """Number of files that wait for their job or are being processed."""
    completed: int
    """Number of files that can be searched."""
    failed: int
    """Number of files that could not be processed."""
    cancelled: int
    """Number of files whose processing was cancelled."""
    total: int
    """Number of all files."""

    @classmethod
    def of(cls, files: FileCounts) -> Self:
        """Convert the counts of a store or of a batch into the object that answers contain."""
        return cls(
            in_progress=files.in_progress,
            completed=files.completed,
            failed=files.failed,
            cancelled=files.cancelled,
            total=files.total,
        )


def requested_chunking(
    strategy: dict[str, Any] | None, sizes: ChunkSizes
) -> StaticChunking | NamedChunking | OtherChunking:
    """Return the requested strategy in the form that answers contain.

    Answers show the resulting sizes for ``auto``, because OpenAI's answers do the same.
    """
    requested = chunking_of(strategy)
    if not isinstance(requested, AutoChunking):
        return requested
    if sizes.max_chunk_size_tokens < MIN_CHUNK_SHOWN:
        return OtherChunking()
    return StaticChunking(static=sizes)


class QueueFields(Protocol):
    """The fields of a request that say how urgent its jobs are."""

    @property
    def priority_class(self) -> PriorityClass | None:
        """The priority class."""

    @property
    def priority(self) -> str | int | None:
        """The priority within the class; a string is the priority class, as older clients send it."""


def queue_options(settings: Settings, fields: QueueFields) -> dict[str, Any]:
    """Return the arguments that pass a request's priority to the functions that queue a job.

    Raises:
        InvalidInput: the request names two priority classes.
    """
    priority_class, priority = fields.priority_class, fields.priority
    if isinstance(priority, str):
        if priority_class not in {None, priority}:
            raise InvalidInput(
                f"priority is {priority} and priority_class is {priority_class};"
                " send a number from 0 to 9 as priority",
                param="priority",
            )
        priority_class, priority = PriorityClass(priority), None
    return {
        "priority_class": priority_class or PriorityClass.MEDIUM,
        "priority": DEFAULT_PRIORITY if priority is None else priority,
        "attempts": settings.job_attempts,
    }


def stored_json(model: BaseModel | None) -> dict[str, Any] | None:
    """Return the field in the form that the database stores: a dictionary, or None."""
    return None if model is None else model.model_dump()
