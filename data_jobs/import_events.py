"""Import events of a platform from a file: JSON lines, CSV or Parquet. docs/platform-data.md has the columns.

    python -m data_jobs.import_events events.parquet --organisation acme
    ray job submit -- python -m data_jobs.import_events /srv/events.csv --source /shop
    python -m data_jobs.import_events --file-id file-...

The command stores a file of this machine in the cluster, submits a job of the kind import_events, and shows
the job until it ends. A worker runs the job, so the job continues if the command is interrupted. Events that
are stored already count as duplicates. Exit codes: 0, every row is stored; 3, some rows are wrong (a file of
the cluster names them); 1, the job failed or was cancelled, or the command was interrupted; 2, wrong usage.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from psycopg import Connection
from psycopg_pool import ConnectionPool
from rich.console import Console

from cluster.blobs import Blob, open_blob_store
from cluster.command import EXIT_USAGE, run
from cluster.database import open_pool, organisation_access, translated
from cluster.documents.file_names import shown_name
from cluster.documents.files import LIFETIMES_S, create_file, require_blob
from cluster.errors import InvalidInput, Permanent, Unavailable
from cluster.file_beginning import SNIFFED_BYTES
from cluster.formats import recognise
from cluster.jobs.kinds import IMPORT_EVENTS
from cluster.jobs.kinds.inputs import DEFAULT_FAILED_ROWS, ImportEventsInput
from cluster.organisations.organisations import StorageLimits
from cluster.organisations.rows import get_organisation
from cluster.settings import Settings
from cluster.submissions import AskedJob, accept, validated_arguments
from data_jobs.sources.local_files import open_regular
from data_jobs.watching import shown_end

COPY_BYTES = 1024 * 1024
#: Purpose of the file that the command stores.
PURPOSE = "user_data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(partial(_import, options=options, console=console), console, log_level="ERROR")


def _import(settings: Settings, options: argparse.Namespace, console: Console) -> int:
    if (options.path is None) == (options.file_id is None):
        console.print("name either a path or --file-id", markup=False)
        return EXIT_USAGE
    organisation = options.organisation or settings.organisation
    with closing(open_pool(settings, access=organisation_access(organisation))) as pool:
        try:
            with translated(), pool.connection() as connection:
                get_organisation(connection, organisation)
            id = _submitted(settings, pool, organisation, options)
        except Permanent as exc:
            console.print(f"error: {exc}", markup=False, soft_wrap=True)
            return EXIT_USAGE
        console.print(f"job {id} imports the events", markup=False)
        return shown_end(pool, organisation, id, console)


def _submitted(
    settings: Settings, pool: ConnectionPool, organisation: str, options: argparse.Namespace
) -> str:
    """Store the file if it is a path, submit the job, and return the id of the job."""
    given = {"source": options.source, "max_failed_rows": options.max_failed_rows}
    arguments = {name: value for name, value in given.items() if value is not None}
    # Check the arguments before the file is stored.
    validated_arguments(IMPORT_EVENTS, {**arguments, "file_id": options.file_id or "-"})
    blob, media_type = (None, "") if options.path is None else _stored(settings, organisation, options.path)
    limits = StorageLimits.of(settings)
    with translated(), pool.connection() as connection:
        file_id = options.file_id
        if blob is not None:
            file_id = _file(connection, settings, organisation, options.path, blob, media_type)
        input = ImportEventsInput(**{**arguments, "file_id": file_id})
        asked = AskedJob(organisation=organisation, input=input, default_limits=limits)
        return accept(connection, IMPORT_EVENTS, asked).id


def _stored(settings: Settings, organisation: str, path: Path) -> tuple[Blob, str]:
    """Copy the file into the blob store. Return the blob and the media type of the file."""
    try:
        with open_regular(str(path)) as file:
            media_type = recognise(file.read(SNIFFED_BYTES), name=path.name).media_type
            file.seek(0)
            with open_blob_store(settings).writer(organisation) as writer:
                while part := file.read(COPY_BYTES):
                    writer.write(part)
                return writer.commit(), media_type
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror or exc}") from exc


def _file(
    connection: Connection[object],
    settings: Settings,
    organisation: str,
    path: Path,
    blob: Blob,
    media_type: str,
) -> str:
    if not require_blob(connection, open_blob_store(settings), organisation, blob.sha256):
        raise Unavailable("the last file with these bytes was deleted meanwhile; run the command again")
    return create_file(
        connection,
        organisation,
        shown_name(path.name),
        PURPOSE,
        blob,
        media_type,
        expires_after_s=LIFETIMES_S["batch"],
        default_limits=StorageLimits.of(settings),
    ).id


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.import_events",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", nargs="?", type=Path, help="file of this machine")
    parser.add_argument("--file-id", help="uploaded file of the organisation, instead of a path")
    parser.add_argument("--organisation", help="owner of the events (default: CLUSTER_ORGANISATION)")
    parser.add_argument("--source", help="source of events that name none")
    parser.add_argument(
        "--max-failed-rows",
        type=int,
        help=f"number of wrong rows at which the job still succeeds (default: {DEFAULT_FAILED_ROWS:,})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
