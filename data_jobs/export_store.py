"""Export a vector store as a Parquet file, for another cluster, for other tools, or as a backup.

    python -m data_jobs.export_store handbook --to handbook.parquet
    python -m data_jobs.export_store handbook --to s3://backups/handbook.parquet

The file holds the state of the store at one moment. ``data_jobs.import_store`` imports the content of the
file without any change.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from cluster.database import open_pool, organisation_access, translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.file_names import shown_name
from cluster.documents.vector_stores.stores import find_store
from cluster.jobs.command_job import CommandJob
from cluster.jobs.kinds import EXPORT_STORE
from cluster.jobs.queue import JobRequest
from cluster.logs import about
from cluster.settings import Settings
from data_jobs.transfer.command import EXIT_CODES, Summary, add_common, progress, run
from data_jobs.transfer.parquet_file import StoreFileWriter
from data_jobs.transfer.reading import read_store, with_vectors
from data_jobs.transfer.writing import Counts


def export_store(settings: Settings, name: str, location: str) -> Summary:
    """Write the store into a file at the location, and return the summary.

    Raises:
        NotFound: no store has this name or id.
        InvalidInput: the location cannot be written to.
        Conflict: the settings do not name the index of the store.
        Retryable: the database or the index does not answer. No file was written.
    """
    with open_pool(settings, access=organisation_access(settings.organisation)) as pool:
        indexes = ChunkIndexes(settings, pool)
        with translated(), pool.connection() as connection:
            store = find_store(connection, settings.organisation, name)
        index, counts = indexes.of(store), Counts()
        index.ensure(store.collection, dim=store.fingerprint.dim)
        total = index.count(store.organisation, store.id, collection=store.collection)
        input = {"vector_store": store.id, "location": shown_name(location)}
        request = JobRequest(kind=EXPORT_STORE, input=input, total=total, subject=store.id)
        with CommandJob(pool, store.organisation, request, lease_s=settings.lease_s) as job:
            with (
                about(**job.log_fields),
                progress(total) as advance,
                StoreFileWriter(location, store) as file,
                closing(read_store(pool, index, store)) as parts,
            ):
                for part in parts:
                    counts.source += part.size
                    counts.written += file.write(with_vectors(part, counts.leave_out))
                    advance(counts.source)
                    job.progress(counts.source)
            job.result = summary = counts.summary()
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit code."""
    options = _parser().parse_args(arguments)
    work = partial(export_store, name=options.store, location=options.to)
    return run(options, work, title=f"Exported {options.store} to {options.to}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.export_store",
        description="Export a vector store as a Parquet file: ids, texts, ranges, attributes and vectors.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("store", metavar="STORE", help="name or id of the vector store")
    parser.add_argument(
        "--to",
        required=True,
        metavar="PATH_OR_URI",
        help="the file to write; a path, or an s3://, gs:// or az:// URI (needs the matching fsspec extra)",
    )
    return add_common(parser)


if __name__ == "__main__":
    sys.exit(main())
