"""The inputs of the kinds of jobs that clients may submit with ``POST /v1/jobs``.

``kinds`` names one of these models for each public kind. The route validates a request's ``input`` with this
model, and ``GET /v1/jobs/kinds`` publishes the model's JSON schema.

    IndexFileInput.model_validate({"vector_store_id": "vs_1", "file_id": "file-1"})
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from cluster.described_model import DescribedModel
from cluster.formats.recognition import OcrMode
from cluster.records import MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES
from cluster.settings.documents import MAX_OCR_LANGUAGES, OCR_LANGUAGES
from cluster.text.well_formed import well_formed

#: Maximum number of characters of a URL that a job fetches.
MAX_URL_CHARACTERS = 2_000
#: Maximum number of file ids in the input of one job.
MAX_INGESTED_FILES = 10_000
#: Number of wrong rows that an import of events permits, at most and by default. Each wrong row is stored
#: until the job ends.
MAX_FAILED_ROWS, DEFAULT_FAILED_ROWS = 1_000_000, 10_000


def storable(text: str) -> str:
    """Return the text, if Postgres can store it; otherwise raise the error of a wrong value."""
    if "\0" in text or well_formed(text) != text:
        raise PydanticCustomError(
            "storable", "must not have a NUL character or half of a surrogate pair; remove it"
        )
    return text


#: Text that Postgres can store.
StorableText = Annotated[str, AfterValidator(storable)]
GivenAttributes = Annotated[
    dict[
        Annotated[StorableText, Field(max_length=MAX_ATTRIBUTE_NAME)],
        Annotated[StorableText, Field(max_length=MAX_ATTRIBUTE_VALUE)] | bool | int | float,
    ],
    Field(max_length=MAX_ATTRIBUTES),
]

#: Languages of the text to recognise, as in ``CLUSTER_OCR_LANGUAGES``.
OcrLanguages = Annotated[StorableText, Field(pattern=OCR_LANGUAGES, max_length=MAX_OCR_LANGUAGES)]

#: Maximum number of questions of one agent whose sources are computed before they are asked.
MAX_CONTEXTS = 1_000


class StrictInput(DescribedModel):
    """Base class of inputs that people write. Types are strict, and ``null`` means the same as a missing
    field.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: value for name, value in given.items() if value is not None}
        return given


class JobInput(StrictInput):
    """The input of a job."""


class IndexFileInput(JobInput):
    """Attaches a file to a vector store, and makes the file's text searchable there."""

    vector_store_id: StorableText
    """Id of the vector store."""
    file_id: StorableText | None = None
    """Id of the file."""
    url: Annotated[StorableText, Field(min_length=1, max_length=MAX_URL_CHARACTERS)] | None = None
    """URL of a page or a document, in place of `file_id`. The job fetches it, and the file gets the attribute
    `url`. A schedule shows the id of this file in place of the URL."""
    attributes: GivenAttributes | None = None
    """Up to 16 named values that the filters of a search can test."""
    chunking_strategy: dict[Literal["type", "static"], Any] | None = None
    """How the document is cut into chunks, as in `POST /v1/vector_stores/{vector_store_id}/files`."""
    ocr: OcrMode | None = None
    """When the text of pages is recognised, as in `POST /v1/vector_stores/{vector_store_id}/files`."""
    ocr_languages: OcrLanguages | None = None
    """Languages of the text to recognise, such as `deu+eng`; by default, those of the vector store."""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.file_id is None) == (self.url is None):
            raise PydanticCustomError("one_file", "must have either file_id or url, and not both; send one")
        return self


class IngestFilesInput(JobInput):
    """Attaches many uploaded files to a vector store, each with a job of its own, as one file batch.

    Files that are in the store already do not change.
    """

    vector_store_id: StorableText
    """Id of the vector store."""
    file_ids: Annotated[list[StorableText], Field(min_length=1, max_length=MAX_INGESTED_FILES)] | None = None
    """Ids of the files; by default, all files that were uploaded as documents."""
    attributes: GivenAttributes | None = None
    """Up to 16 named values for each file, which the filters of a search can test."""
    chunking_strategy: dict[Literal["type", "static"], Any] | None = None
    """How the documents are cut into chunks, as in `POST /v1/vector_stores/{vector_store_id}/files`."""
    ocr: OcrMode | None = None
    """When the text of pages is recognised, as in `POST /v1/vector_stores/{vector_store_id}/files`."""
    ocr_languages: OcrLanguages | None = None
    """Languages of the text to recognise, such as `deu+eng`; by default, those of the vector store."""


class BulkInsertVectorsInput(JobInput):
    """Inserts the rows of a file, each with an id and a vector, into a vector store that holds given vectors.

    The file is JSON lines or Parquet with `id`, `vector`, and optionally `text` and `attributes`.
    """

    vector_store_id: StorableText
    """Id of the vector store."""
    file_id: StorableText
    """Id of the uploaded file."""


class ImportEventsInput(JobInput):
    """Imports the events of a file, in the same way as `POST /v1/events`.

    The file is JSON lines, CSV with a header, or Parquet. Its columns are the fields of an event.
    """

    file_id: StorableText
    """Id of the uploaded file."""
    source: Annotated[StorableText, Field(min_length=1, max_length=256)] | None = None
    """The source of events that name none; by default, every event must name its source."""
    max_failed_rows: Annotated[int, Field(ge=0, le=MAX_FAILED_ROWS)] = DEFAULT_FAILED_ROWS
    """Number of wrong rows at which the job still succeeds. With more, it stops and fails."""


class EmbedBatchInput(JobInput):
    """Answers the embedding requests of a file, in the same way as `POST /v1/batches`."""

    input_file_id: StorableText
    """Id of a file with the purpose `batch`: one request in JSON on each line."""
    completion_window: StorableText = "24h"
    """Time within which the batch ends: a number, and `m` (minutes), `h` (hours) or `d` (days)."""
    metadata: (
        Annotated[
            dict[
                Annotated[StorableText, Field(max_length=MAX_ATTRIBUTE_NAME)],
                Annotated[StorableText, Field(max_length=MAX_ATTRIBUTE_VALUE)],
            ],
            Field(max_length=MAX_ATTRIBUTES),
        ]
        | None
    ) = None
    """Up to 16 named texts, which are stored and returned unchanged."""


class UsageReportInput(JobInput):
    """Makes a usage report of a billing period, in the same way as `POST /v1/usage_reports`."""

    period: StorableText
    """The billing period: `current`, `previous`, or a day of the period, such as `2026-03-01`."""
    format: Literal["csv", "pdf"] = "pdf"
    """`pdf` for a PDF and a CSV, `csv` for a CSV only. A final report always has both."""


class EstimateQualityInput(JobInput):
    """Estimates the quality of recent conversations: the rephrase rate and the groundedness, from the vectors
    of the messages. Both are heuristics; the result has their definitions.
    """

    days: Annotated[int, Field(ge=1, le=366)] = 30
    """Number of days before the job was submitted whose conversations are estimated."""
    agent_id: StorableText | None = None
    """Id of an agent; by default, all agents."""
    sample: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Maximum number of messages that each figure is estimated from."""


class PrecomputeContextsInput(JobInput):
    """Finds the sources of an agent's frequent questions before they are asked, so that answers to them need
    no search. Use a schedule, because a context is no longer used as soon as a vector store of the agent
    changes.
    """

    agent_id: StorableText
    """Id or external id of the agent."""
    questions: (
        Annotated[
            list[Annotated[StorableText, Field(min_length=1, max_length=2_000)]],
            Field(min_length=1, max_length=MAX_CONTEXTS),
        ]
        | None
    ) = None
    """The questions; by default, the most frequent questions of the agent's conversations."""
    days: Annotated[int, Field(ge=1, le=366)] = 30
    """Number of days before the job was submitted whose conversations are read for frequent questions."""
    min_conversations: Annotated[int, Field(ge=2, le=1_000_000)] = 2
    """Least number of conversations with similar questions that make a question frequent."""
    max_questions: Annotated[int, Field(ge=1, le=MAX_CONTEXTS)] = 100
    """Maximum number of frequent questions."""


class EnrichCustomerProfileInput(JobInput):
    """Computes the profiles of one customer, of the members of a segment, or of all customers.

    Customers who refuse to be profiled are left out.
    """

    customer_id: StorableText | None = None
    """Id of the only customer; by default, all customers."""
    segment_id: StorableText | None = None
    """Id of a segment; the job computes the profiles of the customers who are in the segment when the job
    reaches them."""

    @model_validator(mode="after")
    def _one_selection(self) -> Self:
        if self.customer_id is not None and self.segment_id is not None:
            raise PydanticCustomError(
                "one_selection", "give customer_id or segment_id, not both; a job selects by one of them"
            )
        return self
