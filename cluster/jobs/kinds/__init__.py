"""The table of job kinds: the name, the defaults, the result fields and the permitted actions of each kind.

``queue`` reads the defaults of a new job from this table, and whether a job may be queued again. The routes
and the doctor read the table, too. The code that runs each kind of job is in ``data_jobs/kinds``, which has a
second table. To add a kind, write its file in that folder, and add a row to both tables.

    job = submit(connection, "default", INDEX_FILE, {"file": ..., "vector_store": ...})
"""

from collections.abc import Mapping
from types import MappingProxyType

from cluster.jobs.jobs import PriorityClass
from cluster.jobs.kinds.crawl_inputs import CrawlInput, DiscoverInput
from cluster.jobs.kinds.inputs import (
    BulkInsertVectorsInput,
    EmbedBatchInput,
    EnrichCustomerProfileInput,
    EstimateQualityInput,
    ImportEventsInput,
    IndexFileInput,
    IngestFilesInput,
    PrecomputeContextsInput,
    UsageReportInput,
)
from cluster.jobs.kinds.job_kind import UPKEEP_TIMEOUT_S, JobKind
from cluster.jobs.kinds.upkeep_kinds import (
    ARCHIVE_JOBS,
    COMPUTE_DAILY_ANALYTICS,
    COMPUTE_HOURLY_STATS,
    DELETE_OLD_PLATFORM_DATA,
    DISCARD_UNFINISHED,
    EMPTY_OUTBOX,
    EXPIRE,
    MEASURE_STORAGE,
    RECONCILE_ANALYTICS,
    RENEW_WORDS,
    USAGE_REPORTS,
)

INDEX_FILE = JobKind(
    name="index_file",
    input=IndexFileInput,
    aliases=("process_document",),
    unit="percent",
    total=100,
    result=(
        "document",
        "outcome",
        "detail",
        "pages",
        "chunks",
        "embedded",
        "tokens",
        "tokens_embedded",
        "facts",
        "failed_pages",
        "vector_store",
        "file",
        "entries",
    ),
)
DELETE_STORE = JobKind(name="delete_store", priority_class=PriorityClass.LOW, unit="rows", result=("rows",))
DELETE_ORGANISATION = JobKind(
    name="delete_organisation",
    # Many attempts, because an organisation can be large and each attempt continues with what is left.
    attempts=10,
    stage_timeout_s=24 * 3_600.0,
    unit="rows",
    result=("organisation", "deleted", "blobs", "remaining", "kept"),
    cancellable=False,
)
ERASE_CUSTOMER = JobKind(
    name="erase_customer",
    # Many attempts, because each attempt continues with what is left.
    attempts=10,
    stage_timeout_s=UPKEEP_TIMEOUT_S,
    unit="rows",
    result=("customer", "deleted_rows", "remaining_rows"),
    cancellable=False,
)
EMBED_BATCH = JobKind(
    name="embed_batch",
    input=EmbedBatchInput,
    aliases=("generate_embeddings_batch",),
    priority_class=PriorityClass.LOW,
    # An attempt that has added a part to the batch permits five more attempts (``renew_attempts``).
    attempts=5,
    unit="requests",
    result=("batch", "status", "total", "completed", "failed", "tokens", "output_file", "error_file"),
    retryable=False,
    remedy="create a new batch with the requests that have no line in the output file",
)
INGEST = JobKind(
    name="ingest",
    attempts=1,
    retryable=False,
    remedy="it was a command's own; run the command again",
    result=(
        "documents",
        "unchanged",
        "pages",
        "chunks",
        "embedded",
        "tokens",
        "tokens_embedded",
        "outcomes",
        "left_out",
        "seconds",
        "tokens_per_s",
    ),
)

CREATE_AGENTS = JobKind(
    name="create_agents",
    # Many attempts, because each attempt continues with what is left.
    attempts=10,
    stage_timeout_s=UPKEEP_TIMEOUT_S,
    unit="agents",
    result=(
        "mode",
        "agents",
        "created",
        "updated",
        "unchanged",
        "failed",
        "files",
        "files_completed",
        "files_failed",
        "tokens_embedded",
        "failures",
    ),
    retryable=False,
    remedy="send the agents again; those that were created already are unchanged",
)
INGEST_FILES = JobKind(
    name="ingest_files",
    input=IngestFilesInput,
    aliases=("ingest",),
    priority_class=PriorityClass.LOW,
    unit="files",
    result=("vector_store", "file_batch", "files", "attached", "already_attached", "left_out"),
)
RECHUNK_STORE = JobKind(
    name="rechunk_store",
    priority_class=PriorityClass.LOW,
    unit="files",
    result=("vector_store", "file_batch", "files"),
)


def _transfer(name: str, *result: str) -> JobKind:
    """Make a kind of job in which a command copies, exports or imports a whole store."""
    return JobKind(
        name=name,
        attempts=1,
        retryable=False,
        remedy="it was a command's own; run the command again",
        unit="chunks",
        result=("source", "written", "unchanged", "failed", "left_out", *result),
    )


COPY_STORE = _transfer(
    "copy_store", "equal", "only_in_source", "only_in_target", "different", "documents", "files"
)
EXPORT_STORE = _transfer("export_store")
IMPORT_STORE = _transfer("import_store")
BULK_INSERT_VECTORS = JobKind(
    name="bulk_insert_vectors",
    input=BulkInsertVectorsInput,
    priority_class=PriorityClass.LOW,
    attempts=5,
    stage_timeout_s=UPKEEP_TIMEOUT_S,
    unit="rows",
    result=(
        "vector_store",
        "file",
        "rows",
        "written",
        "unchanged",
        "failed",
        "failures",
        "error_file",
        "ignored_fields",
    ),
)
IMPORT_EVENTS = JobKind(
    name="import_events",
    input=ImportEventsInput,
    priority_class=PriorityClass.LOW,
    attempts=5,
    stage_timeout_s=UPKEEP_TIMEOUT_S,
    unit="rows",
    result=(
        "file",
        "rows",
        "accepted",
        "duplicates",
        "failed",
        "max_failed_rows",
        "error_file",
        "ignored_columns",
    ),
)

ESTIMATE_QUALITY = JobKind(
    name="estimate_quality",
    input=EstimateQualityInput,
    priority_class=PriorityClass.LOW,
    unit="texts",
    result=(
        "rephrase_rate",
        "rephrase_n",
        "groundedness",
        "groundedness_n",
        "model",
        "begin",
        "end",
        "agent",
        "definitions",
    ),
)
ENRICH_CUSTOMER_PROFILE = JobKind(
    name="enrich_customer_profile",
    input=EnrichCustomerProfileInput,
    priority_class=PriorityClass.LOW,
    # An attempt continues after the last customers whose values are stored.
    attempts=5,
    stage_timeout_s=UPKEEP_TIMEOUT_S,
    unit="customers",
    result=("parts", "deleted"),
    by_schedule=True,
)
PRECOMPUTE_CONTEXTS = JobKind(
    name="precompute_contexts",
    input=PrecomputeContextsInput,
    priority_class=PriorityClass.LOW,
    attempts=5,
    stage_timeout_s=UPKEEP_TIMEOUT_S,
    unit="questions",
    result=("agent", "questions", "computed", "unchanged", "deleted"),
)
USAGE_REPORT = JobKind(
    name="usage_report",
    input=UsageReportInput,
    aliases=("generate_usage_report",),
    stage_timeout_s=UPKEEP_TIMEOUT_S,
    unit="reports",
    total=1,
    result=(
        "report",
        "state",
        "usage_lines",
        "adjustment_lines",
        "csv_sha256",
        "pdf_sha256",
    ),
)

CRAWL = JobKind(
    name="crawl",
    input=CrawlInput,
    aliases=("crawl_website",),
    priority_class=PriorityClass.LOW,
    # An attempt that has recorded a page permits as many further attempts (``renew_attempts``).
    attempts=5,
    unit="pages",
    result=("crawl", "vector_store", "outcomes", "ignored"),
)
DISCOVER = JobKind(
    name="discover",
    input=DiscoverInput,
    aliases=("discover_urls",),
    attempts=5,
    unit="pages",
    result=("crawl", "outcomes", "ignored"),
)


DELIVER_WEBHOOKS = JobKind(
    name="deliver_webhooks",
    priority_class=PriorityClass.LOW,
    unit="attempts",
    result=("succeeded", "failed"),
    cancellable=False,
    retryable=False,
    remedy="a worker submits the next one",
)


#: Every kind, by its name.
KINDS: Mapping[str, JobKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            INDEX_FILE,
            DELETE_STORE,
            DELETE_ORGANISATION,
            ERASE_CUSTOMER,
            EMBED_BATCH,
            INGEST,
            INGEST_FILES,
            RECHUNK_STORE,
            CREATE_AGENTS,
            COPY_STORE,
            EXPORT_STORE,
            IMPORT_STORE,
            BULK_INSERT_VECTORS,
            IMPORT_EVENTS,
            DELIVER_WEBHOOKS,
            EXPIRE,
            EMPTY_OUTBOX,
            RENEW_WORDS,
            ARCHIVE_JOBS,
            DISCARD_UNFINISHED,
            MEASURE_STORAGE,
            ESTIMATE_QUALITY,
            PRECOMPUTE_CONTEXTS,
            ENRICH_CUSTOMER_PROFILE,
            CRAWL,
            DISCOVER,
            USAGE_REPORT,
            USAGE_REPORTS,
            COMPUTE_HOURLY_STATS,
            COMPUTE_DAILY_ANALYTICS,
            RECONCILE_ANALYTICS,
            DELETE_OLD_PLATFORM_DATA,
        )
    }
)


def kind_named(name: str) -> JobKind:
    """Return the kind with this name. A job of a newer release may have an unknown kind, for which this
    function returns a kind with the default values.
    """
    return KINDS.get(name) or JobKind(name=name)


def not_retryable() -> list[str]:
    """Return the names of the kinds whose jobs cannot be queued again."""
    return [kind.name for kind in KINDS.values() if not kind.retryable]
