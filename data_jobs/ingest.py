"""Ingest a file, a folder or a bucket into a vector store, in bulk, on Ray Data.

    python -m data_jobs.ingest docs/ --vector-store handbook
    ray job submit --address http://127.0.0.1:8265 -- python -m data_jobs.ingest s3://bucket/manuals --vector-store manuals

Running it again embeds only what has changed. Exit code 0: every document is searchable; 3: some are not, or a folder
could not be listed, and the summary says which and why; 2: wrong usage; 1: the run itself was cut short, run it again.
A document of which only part could be read is searchable; the summary says which part is missing.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray
import ray.data
import structlog
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import RayError

from cluster.database import open_pool, translated
from cluster.documents import stores
from cluster.documents.file_names import shown_name
from cluster.documents.indexing import ChunkIndexes
from cluster.engines import describe
from cluster.errors import ClusterError, InvalidInput, Permanent, Unavailable, last_line
from cluster.jobs.job_run import JobRun
from cluster.jobs.kinds import INGEST
from cluster.logs import about, configure
from cluster.settings import Settings
from data_jobs.bulk.plan import Plan, make_plan
from data_jobs.bulk.ray_session import ray_session
from data_jobs.bulk.report import IngestReport
from data_jobs.sources import list_sources
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.compare import Compare
from data_jobs.stages.document_row import DocumentRow, to_table
from data_jobs.stages.embed import Embed
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.map_rows import Stage, map_rows
from data_jobs.stages.parse import Parse
from data_jobs.stages.pipeline_version import pipeline_version
from data_jobs.stages.read import Read
from data_jobs.stages.write import Write

log = structlog.get_logger(__name__)

EXIT_OK, EXIT_CUT_SHORT, EXIT_USAGE, EXIT_SOME_FAILED = 0, 1, 2, 3

#: Documents an engine takes at once: enough chunks to pack by length, few enough to keep a batch in memory.
DOCUMENTS_PER_BATCH = 8
#: Folders that could not be listed, named in the error of a location without any file.
REASONS = 3
#: Documents of one block: small, so that work spreads and a lost worker repeats little.
DOCUMENTS_PER_BLOCK = 4


def pipeline(
    rows: Sequence[DocumentRow], settings: Settings, store: stores.VectorStore, *, job: str
) -> Dataset:
    """The way of a document, top to bottom; gives a line of ``RESULTS`` for each."""
    # Half a CPU, because it waits for the parser and for Postgres; and other than the engine's share, because Ray Data
    # would run stages of equal shares inside the engine's actor, one after the other.
    one_by_one: dict[str, Any] = {"batch_format": "pyarrow", "batch_size": 1, "num_cpus": 0.5}
    several: dict[str, Any] = {"batch_format": "pyarrow", "batch_size": DOCUMENTS_PER_BATCH}
    version = pipeline_version(settings, store.fingerprint)
    fields = {"job": job, "organisation": store.organisation}

    def each(stage: Stage) -> Callable[[pa.Table], pa.Table]:
        return map_rows(stage, settings, **fields)

    return (
        ray.data.from_arrow(
            [to_table(rows[at : at + DOCUMENTS_PER_BLOCK]) for at in range(0, len(rows), DOCUMENTS_PER_BLOCK)]
        )
        .map_batches(each(Read(settings)), **one_by_one)
        .map_batches(each(Parse(settings)), **one_by_one)
        .map_batches(each(Chunk(settings, store.fingerprint.id)), **one_by_one)
        .map_batches(each(Keywords(settings)), **one_by_one)
        .map_batches(each(Compare(settings, store)), **one_by_one)
        .map_batches(
            Embed,
            fn_constructor_args=[settings, store.fingerprint.id],
            fn_constructor_kwargs=fields,
            **engines(settings),
            **several,
        )
        .map_batches(Write(settings, store, job=job, pipeline_version=version), **one_by_one)
    )


def engines(settings: Settings) -> dict[str, Any]:
    """How many engines, and what each asks of Ray: its share of a GPU, or one CPU."""
    gpus = ray.cluster_resources().get("GPU", 0.0)  # type: ignore[no-untyped-call]
    share = settings.gpu_share(gpus)
    size = settings.bulk_engines or (max(1, int(gpus / share)) if share else 1)
    return {"compute": ActorPoolStrategy(size=size), **({"num_gpus": share} if share else {"num_cpus": 1})}


def ingest(
    settings: Settings, location: str, vector_store: str, report: IngestReport, *, verify: bool = False
) -> None:
    """Bring the store up to date with every document at ``location``; ``report`` receives each result.

    Raises:
        InvalidInput: nothing there to ingest, or a location of an unknown kind.
        Conflict: the store holds vectors of another model.
        Retryable: the database stayed away; what is written stays, and the next run goes on.
    """
    with open_pool(settings) as pool:
        indexes = ChunkIndexes(settings, pool)
        with translated(), pool.connection() as connection:
            store = stores.ensure_store(
                connection, settings.organisation, vector_store, fingerprint=describe(settings)
            )
        indexes.of(store).ensure(store.collection, dim=store.fingerprint.dim)
        plan = make_plan(
            pool, settings, store, list_sources(location, left_out=report.leave_out), verify=verify
        )
        if not plan.total:
            raise InvalidInput(
                "; ".join(
                    [
                        f"{location}: no files there",
                        *(f"{what}: {why}" for what, _, why in report.left_out[:REASONS]),
                    ]
                )
            )
        input = {"location": shown_name(location), "vector_store": store.id}
        with JobRun(
            pool, store.organisation, INGEST.name, input, total=plan.total, lease_s=settings.lease_s
        ) as run:
            with about(job=run.id, organisation=store.organisation), report.progress(plan.total) as advance:
                for result in _results(plan, settings, store, run.id):
                    advance(result)
                    run.progress(report.totals["documents"])
            run.result = report.to_dict()
        if plan.pending:
            indexes.of(store).optimise(store.collection)


def _results(plan: Plan, settings: Settings, store: stores.VectorStore, job: str) -> Iterator[dict[str, Any]]:
    yield from plan.settled
    if plan.pending:  # nothing new: no Ray either
        with ray_session(settings):
            try:
                yield from pipeline(plan.pending, settings, store, job=job).iter_rows()
            except RayError as exc:
                log.exception("pipeline_broke_off")
                raise Unavailable(f"the pipeline broke off: {last_line(exc)}") from exc


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the process's exit code (see the module's docstring)."""
    options = _parser().parse_args(arguments)
    settings = Settings() if options.organisation is None else Settings(organisation=options.organisation)
    configure(settings)
    report = IngestReport()
    try:
        ingest(settings, options.location, options.vector_store, report, verify=options.verify)
    except Permanent as exc:
        print(f"error: {exc}", file=sys.stderr)
        return EXIT_USAGE
    except (ClusterError, KeyboardInterrupt) as exc:
        report.print(f"Cut short: {options.location}")
        print(
            f"error: {str(exc) or 'cancelled'}\nWhat is written stays; run the same command again to go on.",
            file=sys.stderr,
        )
        return EXIT_CUT_SHORT
    report.print(f"Ingested {options.location} into {options.vector_store}")
    if options.json:
        print(json.dumps(report.to_dict()))
    return EXIT_SOME_FAILED if report.failed or report.left_out else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.ingest",
        description="Parse, chunk, embed and index every document at a location. Running it again embeds only what changed.",
        epilog="Exit code: 0 all searchable; 3 some documents are not, or a folder could not be listed (the summary says why); "
        "2 wrong usage; 1 cut short, run again.",
    )
    parser.add_argument(
        "location",
        metavar="PATH_OR_URI",
        help="a file, a folder, or s3://, gs://, az:// (the matching fsspec extra installed)",
    )
    parser.add_argument(
        "--vector-store",
        required=True,
        metavar="NAME",
        help="store to write to, by name or id; made if it is not there",
    )
    parser.add_argument(
        "--organisation",
        metavar="ID",
        help="whose store it is (default: CLUSTER_ORGANISATION, else 'default')",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every document again, even where size and modification time are the same",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the summary as one JSON object on standard output too"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
