"""Ingest a file, a folder or a bucket into a vector store, in bulk, on Ray Data.

    python -m data_jobs.ingest docs/ --vector-store handbook
    ray job submit --address http://127.0.0.1:8265 -- python -m data_jobs.ingest s3://manuals --vector-store m

A second run embeds only what has changed. Exit codes: 0, every document is searchable; 3, some documents are
not searchable, or a folder could not be listed (the summary names each document and folder with the reason);
2, wrong arguments or settings; 1, the run was cut short, so run the same command again. A document that could
be read only in part is searchable; the summary says which part is missing.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray
import ray.data
import structlog
from psycopg_pool import ConnectionPool
from ray.data import Dataset
from ray.exceptions import RayError

from cluster.command import read_settings
from cluster.database import open_pool, organisation_access, translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.file_names import shown_name
from cluster.documents.vector_stores import stores
from cluster.errors import ClusterError, InvalidInput, Permanent
from cluster.formats import is_container_name
from cluster.formats.recognition import with_ocr_of
from cluster.jobs.command_job import CommandJob
from cluster.jobs.kinds import INGEST
from cluster.jobs.queue import JobRequest
from cluster.logs import about, configure
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from cluster.tracing import position_of_work, start_tracing
from data_jobs.bulk.budget_renewal import renewed_reservations
from data_jobs.bulk.ingest_arguments import ingest_parser
from data_jobs.bulk.pipeline_errors import pipeline_error
from data_jobs.bulk.placement import engines, tasks
from data_jobs.bulk.plan import Plan, make_plan
from data_jobs.bulk.ray_session import ray_session
from data_jobs.bulk.report import IngestReport
from data_jobs.bulk.target_store import DEFAULTS, IngestOptions, target_store
from data_jobs.sources import file_name, list_sources
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.chunk_and_embed import ChunkAndEmbed
from data_jobs.stages.chunkers.table import chunker_for
from data_jobs.stages.compare import Compare
from data_jobs.stages.document_row import DocumentRow, to_table
from data_jobs.stages.embed import Embed
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.map_rows import Stage, map_rows, map_rows_to_many
from data_jobs.stages.parse import Parse
from data_jobs.stages.pipeline_version import pipeline_version
from data_jobs.stages.read import Read
from data_jobs.stages.take_vectors import TakeVectors
from data_jobs.stages.unpack import Unpack
from data_jobs.stages.write import Write

if TYPE_CHECKING:
    from data_jobs.bulk.provider_batches import ProviderBatches

log = structlog.get_logger(__name__)

EXIT_OK, EXIT_CUT_SHORT, EXIT_USAGE, EXIT_SOME_FAILED = 0, 1, 2, 3

#: Number of documents in a block of rows. Small blocks spread the work over the workers. If a worker is lost,
#: only the documents of its block are processed again.
DOCUMENTS_PER_BLOCK = 4
WRITTEN_STAY = "Documents already written stay; run the same command again to continue."
#: Maximum number of folders that could not be listed and are named in the error about a location without
#: files.
MAX_FOLDERS_NAMED = 3


def pipeline(
    rows: Sequence[DocumentRow],
    settings: Settings,
    store: stores.VectorStore,
    *,
    job: str,
    from_batches: bool = False,
) -> Dataset:
    """Build the chain of stages in order. The chain returns one row of ``RESULTS`` per document.

    If ``from_batches`` is True, the vectors come from answers of a provider's Batch API, and a document that
    still waits for vectors has no row in the result.
    """
    fields = {"job": job, "organisation": store.organisation, "kind": INGEST.name}
    fields["traceparent"] = position_of_work()
    model, strategy = store.fingerprint, store.chunking_strategy
    version = pipeline_version(settings, model, strategy=strategy)
    each = tasks(settings, model)

    def stage(work: Stage) -> Callable[[pa.Table], pa.Table]:
        return map_rows(work, settings, **fields)

    unpack = Unpack(settings, store, pipeline_version=version, whole=from_batches)
    unpacked = (
        ray.data.from_blocks(blocks(rows))  # ``from_arrow`` first starts a process to describe each block
        .map_batches(stage(Read(settings)), **each)
        .map_batches(map_rows_to_many(unpack, settings, **fields), **each)
    )
    parsed = _in_small_blocks(unpacked, rows).map_batches(stage(Parse(settings)), **each)
    if chunker_for(strategy).needs_vectors:  # one engine for the vectors of the chunker and of the chunks
        of_engine = engines(settings, model, fields)
        embedded = parsed.map_batches(ChunkAndEmbed, fn_constructor_args=[settings, store], **of_engine)
    else:
        compared = (
            parsed.map_batches(stage(Chunk(settings, model, strategy=strategy)), **each)
            .map_batches(stage(Keywords(settings)), **each)
            .map_batches(stage(Compare(settings, store, job=job)), **each)
        )
        embedded = (
            compared.map_batches(TakeVectors(settings, store, **fields), **each)
            if from_batches
            else compared.map_batches(
                Embed, fn_constructor_args=[settings, model], **engines(settings, model, fields)
            )
        )
    return embedded.map_batches(Write(settings, store, pipeline_version=version, **fields), **each)


def _in_small_blocks(unpacked: Dataset, rows: Sequence[DocumentRow]) -> Dataset:
    """Divide the entries of containers into small blocks. Otherwise a block with all entries of an archive
    would be parsed, embedded and written as one piece of work. A run without containers has small blocks
    already.
    """
    if any(is_container_name(file_name(row["source"])) for row in rows):
        return unpacked.repartition(target_num_rows_per_block=DOCUMENTS_PER_BLOCK)
    return unpacked


def blocks(rows: Sequence[DocumentRow]) -> list[pa.Table]:
    """Return the rows as the blocks of a dataset."""
    starts = range(0, len(rows), DOCUMENTS_PER_BLOCK)
    return [to_table(rows[start : start + DOCUMENTS_PER_BLOCK]) for start in starts]


def ingest(
    settings: Settings,
    location: str,
    vector_store: str,
    report: IngestReport,
    options: IngestOptions = DEFAULTS,
) -> None:
    """Update the store with every document at ``location``; ``report`` receives each result.

    Args:
        settings: the settings of this run.
        location: a path or a URI; see ``sources.list_sources``.
        vector_store: name or id of the store. A store that does not exist is created.
        report: counts the results and shows the progress.
        options: the options of this run.

    Raises:
        NotFound: the location does not exist, or ``vector_store`` is an id and no store has this id.
        InvalidInput: the location has no files or cannot be read, its scheme is unknown, no model or index
            has this name, or the model has no Batch API.
        Conflict: the store has another model or index, or this node's settings lack its model or index.
        Misconfigured: a provider refuses the key, the model, the account or a batch.
        Retryable: the database, the provider or the pipeline failed. The next run continues.
    """
    with open_pool(settings, access=organisation_access(settings.organisation)) as pool:
        indexes = ChunkIndexes(settings, pool)
        with translated(), pool.connection() as connection:
            ensure_organisation(connection, settings.organisation)
            store = target_store(connection, settings, vector_store, options)
        settings = with_ocr_of(settings, store, options)
        indexes.of(store).ensure(store.collection, dim=store.fingerprint.dim)
        found = list_sources(location, on_left_out=report.leave_out)
        plan = make_plan(pool, settings, store, found, verify=options.verify)
        _require_files(plan, location, report)
        input = {"location": shown_name(location), "vector_store": store.id}
        request = JobRequest(kind=INGEST, input=input, total=plan.total, subject=store.id)
        with CommandJob(pool, store.organisation, request, lease_s=settings.lease_s) as job:
            with (
                about(**job.log_fields),
                renewed_reservations(pool, store.organisation, job.id),
                report.progress(plan.total) as advance,
                _provider_batches(settings, pool, store, report, options) as batches,
            ):
                for result in _results(plan, settings, store, job.id, batches):
                    advance(result)
                    job.progress(min(report.totals["documents"], plan.total))  # archives have many results
            job.result = report.to_dict()
        if plan.pending:
            indexes.of(store).optimise(store.collection)


def _require_files(plan: Plan, location: str, report: IngestReport) -> None:
    if not plan.total:
        reasons = [f"{what}: {why}" for what, _, why in report.left_out[:MAX_FOLDERS_NAMED]]
        raise InvalidInput("; ".join([f"{location}: no files there", *reasons]))


def _provider_batches(
    settings: Settings,
    pool: ConnectionPool,
    store: stores.VectorStore,
    report: IngestReport,
    options: IngestOptions,
) -> AbstractContextManager["ProviderBatches | None"]:
    if not options.provider_batch:
        return nullcontext()
    from data_jobs.bulk.provider_batches import provider_batches  # noqa: PLC0415  importing openai takes 1 s

    return provider_batches(settings, pool, store, report)


def _results(
    plan: Plan, settings: Settings, store: stores.VectorStore, job: str, batches: "ProviderBatches | None"
) -> Iterator[dict[str, Any]]:
    def run(rows: Sequence[DocumentRow]) -> Iterator[dict[str, Any]]:
        with ray_session(settings):
            try:
                chain = pipeline(rows, settings, store, job=job, from_batches=batches is not None)
                yield from chain.iter_rows()
            except RayError as exc:
                log.exception("pipeline_failed")
                raise pipeline_error(exc) from exc

    yield from plan.settled
    if batches is not None:
        batches.forget_settled(result["document"] for result in plan.settled)
        yield from batches.results(plan.pending, run)
    elif plan.pending:  # without new or changed documents, Ray is not started
        yield from run(plan.pending)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit code (see the docstring of the module)."""
    options = ingest_parser().parse_args(arguments)
    report = IngestReport()
    try:
        settings = read_settings(
            organisation=options.organisation,
            pdf_parser=options.parser,
            ocr=options.ocr,
            ocr_languages=options.ocr_languages,
        )
        configure(settings)
        start_tracing(settings, process="bulk")
        ingest(
            settings,
            options.location,
            options.vector_store,
            report,
            IngestOptions(
                model=options.model,
                index=options.index,
                verify=options.verify,
                provider_batch=options.provider_batch,
                chunker=options.chunker,
                ocr=options.ocr,
                ocr_languages=options.ocr_languages,
            ),
        )
    except Permanent as exc:
        print("\n".join(filter(None, [f"error: {exc}", report.remaining])), file=sys.stderr)
        return EXIT_USAGE
    except (ClusterError, KeyboardInterrupt) as exc:
        report.print(f"Cut short: {options.location}")
        print(
            "\n".join(filter(None, [f"error: {str(exc) or 'cancelled'}", WRITTEN_STAY, report.remaining])),
            file=sys.stderr,
        )
        return EXIT_CUT_SHORT
    report.print(f"Ingested {options.location} into {options.vector_store}")
    if options.json:
        print(json.dumps(report.to_dict()))
    return EXIT_SOME_FAILED if report.failed or report.left_out else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
