"""Import the chunks of a Parquet file into a vector store. ``data_jobs.export_store`` writes the file.

    python -m data_jobs.import_store handbook.parquet --to handbook

A store that does not exist is created, with the options that the file names. An import that was cut short
continues when the same command runs again. Rows that are already in the store do not change. If the file has
vectors of another model than the store, the import is refused.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import structlog
from psycopg import Connection

from cluster.database import open_pool, organisation_access, translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.file_names import shown_name
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Registry
from cluster.errors import Conflict
from cluster.jobs.command_job import CommandJob
from cluster.jobs.kinds import IMPORT_STORE
from cluster.jobs.queue import JobRequest
from cluster.logs import about
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from data_jobs.transfer.command import EXIT_CODES, Summary, add_common, progress, run
from data_jobs.transfer.parquet_file import StoreFileReader
from data_jobs.transfer.targets import index_for, prepare_index, require_fits
from data_jobs.transfer.writing import StoreWriter

log = structlog.get_logger(__name__)


def import_store(settings: Settings, location: str, name: str, *, index: str | None = None) -> Summary:
    """Write the chunks of the file at ``location`` into the store, and return the summary.

    If the store does not exist, create it.

    Args:
        index: name of the index for the vectors of a new store; None: ``CLUSTER_VECTOR_INDEX``.

    Raises:
        NotFound: there is no such file, or no store with this id.
        InvalidInput: the file was not written by an export, no index has the name ``index``, no store can
            have this name, or a row is wrong. The rows that were written before the wrong row stay.
        Conflict: the store holds vectors of another model than the file, or holds its vectors in another
            index than ``index``.
        Retryable: the database or the index stayed unavailable. The next run continues the import.
    """
    with (
        StoreFileReader(location) as file,
        open_pool(settings, access=organisation_access(settings.organisation)) as pool,
    ):
        indexes = ChunkIndexes(settings, pool)
        prepare_index(pool, indexes, settings, name, file.fingerprint, index=index)
        with translated(), pool.connection() as connection:
            ensure_organisation(connection, settings.organisation)
            store = _store(connection, settings, file, name, index)
        indexes.of(store).ensure(store.collection, dim=store.fingerprint.dim)
        input = {"location": shown_name(location), "vector_store": store.id}
        request = JobRequest(kind=IMPORT_STORE, input=input, total=file.rows, subject=store.id)
        with CommandJob(pool, store.organisation, request, lease_s=settings.lease_s) as job:
            with about(**job.log_fields), progress(file.rows) as advance:
                writer = StoreWriter(settings, pool, indexes.of(store), store, job=job.id)
                for part in file.parts(writer.rows_at_once):
                    writer.write(part)
                    advance(writer.counts.source)
                    job.progress(writer.counts.source)
            indexes.of(store).optimise(store.collection)
            job.result = summary = writer.counts.summary()
    return summary


def _store(
    connection: Connection[object], settings: Settings, file: StoreFileReader, name: str, index: str | None
) -> VectorStore:
    new = file.store.new(name, index=index_for(settings, index))
    store = stores.ensure_named_store(connection, settings.organisation, new, fingerprint=file.fingerprint)
    require_fits(store, file.fingerprint, index=index)
    try:
        Registry(settings).of(store.fingerprint)
    except Conflict as exc:
        log.warning("model_not_configured", reason=str(exc))
    return store


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit code."""
    options = _parser().parse_args(arguments)
    work = partial(import_store, location=options.file, name=options.to, index=options.index)
    return run(options, work, title=f"Imported {options.file} into {options.to}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.import_store",
        description="Import a Parquet file that data_jobs.export_store wrote. Nothing is embedded again. An "
        "import that was cut short continues when the same command runs again.",
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "file",
        metavar="PATH_OR_URI",
        help="the file; a path, or an s3://, gs:// or az:// URI (needs the matching fsspec extra)",
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="STORE",
        help="name or id of the vector store to write to; it is made if it does not exist",
    )
    parser.add_argument(
        "--index",
        metavar="NAME",
        help="index for the vectors of a store that is made (default: CLUSTER_VECTOR_INDEX)",
    )
    return add_common(parser)


if __name__ == "__main__":
    sys.exit(main())
