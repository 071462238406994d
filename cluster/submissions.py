"""Accept a job of a public kind: write the rows that the job is about, and queue the job.

``POST /v1/jobs`` calls this module after it has checked the input. Workers call this module for the jobs of
schedules, whose input was checked when the schedule was created. A public kind without a row in ``ACCEPTED``
is queued without further checks and rows.

    asked = AskedJob(
        organisation="default", input=input, default_limits=limits, report_grace_days=3
    )
    with connection.transaction():
        job = accept(connection, INDEX_FILE, asked)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from psycopg import Connection
from pydantic import BaseModel, ValidationError

from cluster.crawls.crawls import create_crawl
from cluster.database.paging import PageRequest
from cluster.documents.batches import batches
from cluster.documents.batches.batches import NewBatch
from cluster.documents.files import get_file, missing_files
from cluster.documents.given_vectors.insert import require_given
from cluster.documents.vector_stores import attaching
from cluster.documents.vector_stores.stores import get_store, require_live
from cluster.errors import InvalidInput, NotFound
from cluster.formats import PARQUET
from cluster.jobs import queue
from cluster.jobs.jobs import SYSTEM, Job, get_job
from cluster.jobs.kinds import (
    BULK_INSERT_VECTORS,
    CRAWL,
    DISCOVER,
    EMBED_BATCH,
    ERASE_CUSTOMER,
    IMPORT_EVENTS,
    INDEX_FILE,
    INGEST_FILES,
    KINDS,
    USAGE_REPORT,
    kind_named,
)
from cluster.jobs.kinds.inputs import (
    BulkInsertVectorsInput,
    EmbedBatchInput,
    ImportEventsInput,
    IndexFileInput,
    IngestFilesInput,
    UsageReportInput,
)
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.schedules.due import Accept, DueJob, submit_as_it_is
from cluster.jobs.view import JobFilter, list_jobs
from cluster.organisations.organisations import StorageLimits
from cluster.settings import Settings
from cluster.usage_reports.submitting import submit_report_job

#: Media types of files whose rows can be read. JSON and plain text are included, because a file of JSON lines
#: has one of these types if its name does not end in ``.jsonl`` or ``.ndjson``.
ROW_FILES = frozenset({PARQUET, "application/jsonl", "application/json", "text/plain"})
#: Media types of files whose events can be read. A CSV file whose name does not end in ``.csv`` is recognised
#: as plain text, or as Markdown or HTML because of its name or its first bytes.
EVENT_FILES = ROW_FILES | {"text/csv", "text/tab-separated-values", "text/markdown", "text/html"}


@dataclass(frozen=True, kw_only=True)
class AskedJob:
    """A job that a request or a schedule asks for."""

    organisation: str
    #: The validated input, an instance of the class ``JobKind.input`` of the kind.
    input: Any
    #: Limits from the settings, for an organisation without limits of its own.
    default_limits: StorageLimits
    #: The setting ``CLUSTER_USAGE_REPORT_GRACE_DAYS``.
    report_grace_days: int = 3
    #: The setting ``CLUSTER_CRAWL_MAX_PAGES``.
    crawl_max_pages: int = 100_000
    #: The arguments ``priority_class``, ``priority``, ``attempts`` and ``run_at`` for functions that queue a
    #: job.
    options: Mapping[str, Any] = field(default_factory=dict)


def accept(connection: Connection[Any], kind: JobKind, asked: AskedJob, *, subject: str | None = None) -> Job:
    """Accept the job, in the caller's transaction.

    Args:
        subject: what the job is about; used only for kinds that are not in ``ACCEPTED``.

    Raises:
        ClusterError: the organisation does not have a thing that the input names, or has reached a limit.
    """
    if kind.name in ACCEPTED:
        return ACCEPTED[kind.name](connection, asked)
    input = asked.input.model_dump(exclude_none=True)
    return queue.submit(connection, asked.organisation, kind, input, subject=subject, **asked.options)


def accept_due(settings: Settings) -> Accept:
    """Return the function with which workers accept the jobs of schedules."""
    return partial(_accept_due, settings)


def submit_erasure(connection: Connection[Any], organisation: str, customer: str) -> Job:
    """Submit the job that erases a marked customer, in the transaction that marks the customer. If the job is
    open already, return this job.
    """
    open_jobs = JobFilter(kind=ERASE_CUSTOMER.name, subject=customer)
    for job in list_jobs(connection, organisation, open_jobs, PageRequest(limit=1)).items:
        if not job.state.ended:
            return job
    return queue.submit(connection, organisation, ERASE_CUSTOMER, {"customer": customer}, subject=customer)


def schedulable_kind(name: str, organisation: str) -> JobKind:
    """Return the kind with this name, if the organisation may have schedules of this kind. Every organisation
    may have schedules of the kinds that people may submit. The organisation ``system`` may also have
    schedules of the kinds of the cluster's own schedules.

    Raises:
        InvalidInput: the organisation can have no schedules of such a kind; the message lists the possible
            kinds.
    """
    allowed = {
        kind.name: kind
        for kind in KINDS.values()
        if kind.input is not None or (kind.by_schedule and organisation == SYSTEM)
    }
    if name not in allowed:
        raise InvalidInput(f"kind is {name!r}; it must be one of {', '.join(allowed)}", param="kind")
    return allowed[name]


def validated_arguments(kind: JobKind, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the input of a kind's jobs, and return it as a schedule stores it.

    Raises:
        InvalidInput: the arguments do not fit the published schema of the kind, or the kind has no input. Or
            they name a URL, which the endpoint replaces by a file.
    """
    if kind.input is None:
        if arguments:
            raise InvalidInput(f"jobs of kind {kind.name} take no input; leave it out", param="input")
        return {}
    asked = _validated(kind.input, arguments)
    if isinstance(asked, IndexFileInput) and asked.file_id is None:
        raise InvalidInput("commands take no input.url; send POST /v1/schedules", param="input.url")
    return asked.model_dump(exclude_none=True)


def _validated(model: type[BaseModel], arguments: Mapping[str, Any]) -> BaseModel:
    try:
        return model.model_validate(dict(arguments))
    except ValidationError as exc:
        first = exc.errors()[0]
        path = ".".join(map(str, ("input", *first["loc"])))
        raise InvalidInput(f"{path}: {first['msg']}", param=path) from exc


def _accept_due(settings: Settings, connection: Connection[Any], due: DueJob) -> Job:
    kind = kind_named(due.schedule.kind)
    if kind.input is None:
        return submit_as_it_is(connection, due)
    attempts = settings.job_attempts if kind is INDEX_FILE else kind.attempts
    asked = AskedJob(
        organisation=due.organisation,
        input=_validated(kind.input, due.schedule.arguments),
        default_limits=StorageLimits.of(settings),
        report_grace_days=settings.usage_report_grace_days,
        crawl_max_pages=settings.crawl_max_pages,
        options={**due.queue_options, "attempts": attempts},
    )
    return accept(connection, kind, asked, subject=due.schedule.id)


def _index_file(connection: Connection[Any], asked: AskedJob) -> Job:
    """Attach the file in the same way as the route of the store's files. If the file has an open job, that
    job may continue, and no new job is queued.
    """
    input: IndexFileInput = asked.input
    assert input.file_id is not None  # routes replace a URL by the file for this URL
    store = get_store(connection, asked.organisation, input.vector_store_id)
    strategy: Any = input.chunking_strategy
    attached = attaching.attach(
        connection,
        store,
        input.file_id,
        attributes=input.attributes,
        chunking_strategy=strategy,
        ocr=input.ocr,
        ocr_languages=input.ocr_languages,
        **asked.options,
    )
    return get_job(connection, asked.organisation, attached.job)


def _ingest_files(connection: Connection[Any], asked: AskedJob) -> Job:
    """Queue a job that attaches many files of the organisation to a store."""
    input: IngestFilesInput = asked.input
    store = require_live(get_store(connection, asked.organisation, input.vector_store_id))
    files = None if input.file_ids is None else sorted({*input.file_ids})
    if files is not None and (missing := missing_files(connection, asked.organisation, files)):
        raise NotFound(f"file {missing[0]!r} does not exist; nothing was queued")
    queued = {
        "vector_store": store.id,
        "files": files,
        "attributes": input.attributes or {},
        "chunking_strategy": input.chunking_strategy,
        "ocr": input.ocr,
        "ocr_languages": input.ocr_languages,
    }
    return queue.submit(
        connection, asked.organisation, INGEST_FILES, queued, subject=store.id, **asked.options
    )


def _bulk_insert_vectors(connection: Connection[Any], asked: AskedJob) -> Job:
    """Queue the insertion of a file of the organisation into one of its stores."""
    input: BulkInsertVectorsInput = asked.input
    store = require_given(require_live(get_store(connection, asked.organisation, input.vector_store_id)))
    file = get_file(connection, asked.organisation, input.file_id)
    if file.media_type not in ROW_FILES:
        raise InvalidInput(
            f"file {file.id} is {file.media_type}; given vectors are read from JSON lines or Parquet",
            param="input.file_id",
        )
    queued = {"vector_store": store.id, "file": file.id}
    return queue.submit(
        connection, asked.organisation, BULK_INSERT_VECTORS, queued, subject=store.id, **asked.options
    )


def _import_events(connection: Connection[Any], asked: AskedJob) -> Job:
    """Queue the import of a file of the organisation."""
    input: ImportEventsInput = asked.input
    file = get_file(connection, asked.organisation, input.file_id)
    if file.media_type not in EVENT_FILES:
        raise InvalidInput(
            f"file {file.id} is {file.media_type}; events are read from JSON lines, CSV or Parquet",
            param="input.file_id",
        )
    queued = {"file": file.id, "source": input.source or "", "max_failed_rows": input.max_failed_rows}
    return queue.submit(
        connection, asked.organisation, IMPORT_EVENTS, queued, subject=file.id, **asked.options
    )


def _embed_batch(connection: Connection[Any], asked: AskedJob) -> Job:
    """Create a batch in the same way as the route of the batches."""
    input: EmbedBatchInput = asked.input
    new = NewBatch(
        input_file=input.input_file_id, completion_window=input.completion_window, metadata=input.metadata
    )
    try:
        batch = batches.create_batch(
            connection, asked.organisation, new, default_limits=asked.default_limits, **asked.options
        )
    except InvalidInput as exc:
        raise InvalidInput(str(exc), param=f"input.{exc.param}") from exc
    return get_job(connection, asked.organisation, batch.job)


def _usage_report(connection: Connection[Any], asked: AskedJob) -> Job:
    """Queue a usage report in the same way as the route of the reports."""
    input: UsageReportInput = asked.input
    try:
        return submit_report_job(
            connection, asked.organisation, input, grace_days=asked.report_grace_days, **asked.options
        )
    except InvalidInput as exc:
        raise InvalidInput(str(exc), param=f"input.{exc.param}") from exc


def _crawl(connection: Connection[Any], asked: AskedJob) -> Job:
    """Create a crawl in the same way as the route of the crawls."""
    try:
        crawl = create_crawl(
            connection,
            asked.organisation,
            asked.input,
            max_pages=asked.crawl_max_pages,
            **asked.options,
        )
    except InvalidInput as exc:
        raise InvalidInput(str(exc), param=f"input.{exc.param}") from exc
    return get_job(connection, asked.organisation, crawl.job)


#: For each kind of job that needs further checks or rows, the function that accepts such a job.
ACCEPTED: Mapping[str, Callable[[Connection[Any], AskedJob], Job]] = MappingProxyType(
    {
        INDEX_FILE.name: _index_file,
        EMBED_BATCH.name: _embed_batch,
        INGEST_FILES.name: _ingest_files,
        BULK_INSERT_VECTORS.name: _bulk_insert_vectors,
        IMPORT_EVENTS.name: _import_events,
        USAGE_REPORT.name: _usage_report,
        CRAWL.name: _crawl,
        DISCOVER.name: _crawl,
    }
)
