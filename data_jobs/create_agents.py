"""Create or update agents from a file: YAML, JSON, JSON lines or CSV. docs/agents.md has the fields.

    python -m data_jobs.create_agents agents.yaml --organisation acme --validate
    python -m data_jobs.create_agents agents.yaml --organisation acme
    ray job submit -- python -m data_jobs.create_agents /srv/agents.csv --mode partial

The command checks the whole file and every file that the agents know. If anything is wrong, it prints every
error with its line, and changes nothing. Otherwise it submits a job of the kind create_agents, and shows the
job until it ends. A worker runs the job, so the job continues if the command is interrupted. Run the command
again at any time: agents that are as the file says are unchanged, and nothing is embedded again. Exit codes:
0, every agent is as the file says; 3, some agents failed (mode partial); 1, the job failed or was cancelled,
or the command was interrupted; 2, the file has errors, or wrong usage.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO

from psycopg_pool import ConnectionPool
from rich.console import Console

from cluster.agents.contents import Contents
from cluster.agents.files.agent_rows import MAX_FILE_BYTES, AgentFault
from cluster.agents.files.reading import CheckedAgents, check, read_agents
from cluster.agents.imports import submit_import
from cluster.agents.preparing import missing_references, prepare
from cluster.blobs import open_blob_store
from cluster.command import EXIT_USAGE, run
from cluster.database import open_pool, organisation_access, translated
from cluster.errors import InvalidInput, Permanent
from cluster.organisations.organisations import StorageLimits
from cluster.organisations.rows import get_organisation
from cluster.settings import Settings
from data_jobs.sources.local_files import open_regular
from data_jobs.watching import shown_end

MODES = ("atomic", "partial")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(partial(_create, options=options, console=console), console, log_level="ERROR")


def _create(settings: Settings, options: argparse.Namespace, console: Console) -> int:
    organisation = options.organisation or settings.organisation
    with closing(open_pool(settings, access=organisation_access(organisation))) as pool:
        try:
            with translated(), pool.connection() as connection:
                get_organisation(connection, organisation)
            contents = Contents(
                open_blob_store(settings),
                organisation,
                open_file=partial(_open_beside, options.path),
                max_bytes=min(settings.max_document_bytes, settings.max_file_bytes),
            )
            checked, faults = _checked(pool, organisation, options.path, contents)
            if faults:
                for fault in faults:
                    console.print(str(fault), markup=False, soft_wrap=True)
                console.print(f"{len(faults):,} errors; nothing was changed", markup=False)
                return EXIT_USAGE
            if options.validate:
                console.print(f"{len(checked.agents):,} agents are correct; nothing was changed")
                return 0
            id = _submitted(settings, pool, organisation, checked, contents, options.mode)
        except Permanent as exc:
            console.print(f"error: {exc}", markup=False, soft_wrap=True)
            return EXIT_USAGE
        console.print(f"job {id} creates the agents", markup=False)
        return shown_end(pool, organisation, id, console)


def _checked(
    pool: ConnectionPool, organisation: str, path: Path, contents: Contents
) -> tuple[CheckedAgents, Sequence[AgentFault]]:
    """Read and check the file, and return all of its faults in the order of the file."""
    try:
        with open_regular(str(path)) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror or exc}") from exc
    checked = check(read_agents(data, name=path.name))
    with translated(), pool.connection() as connection:
        missing = missing_references(connection, organisation, checked, contents)
    return checked, sorted([*checked.faults, *missing], key=lambda fault: (fault.line or 0, fault.path))


def _submitted(
    settings: Settings,
    pool: ConnectionPool,
    organisation: str,
    checked: CheckedAgents,
    contents: Contents,
    mode: str,
) -> str:
    """Store the contents, submit the job, and return the id of the job."""
    prepared = prepare(checked, contents)
    with translated(), pool.connection() as connection, connection.transaction():
        return submit_import(
            connection,
            open_blob_store(settings),
            organisation,
            prepared,
            mode="partial" if mode == "partial" else "atomic",
            default_limits=StorageLimits.of(settings),
        ).id


def _open_beside(agents: Path, path: str) -> BinaryIO:
    """Open a file whose path is relative to the file of the agents."""
    return open_regular(str(agents.parent / path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.create_agents",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, help="file of this machine with the agents")
    parser.add_argument("--organisation", help="owner of the agents (default: CLUSTER_ORGANISATION)")
    parser.add_argument("--validate", action="store_true", help="check the file, and change nothing")
    parser.add_argument(
        "--mode",
        choices=MODES,
        default=MODES[0],
        help="atomic: all agents or none; partial: every agent that can be created (default: atomic)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
