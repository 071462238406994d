"""List, cancel and retry the jobs of any organisation, one by one or by their properties.

    python -m data_jobs.jobs list --state running
    python -m data_jobs.jobs cancel --state queued --kind index_file
    python -m data_jobs.jobs retry job_...

Operators run this command, also while the endpoint does not answer. Each run is about one organisation. The
routes under ``/v1/jobs`` do the same for the caller's organisation.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.table import Table

from cluster.command import EXIT_FAILED, add_subcommand, run_subcommand
from cluster.database import open_pool, translated
from cluster.database.paging import PageRequest
from cluster.database.row_access import ALL
from cluster.documents.containers.cancellation import cancel_with_entries
from cluster.errors import ClusterError, Conflict, InvalidInput
from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState, PriorityClass, get_job
from cluster.jobs.kinds import KINDS, kind_named
from cluster.jobs.view import JobFilter, list_jobs
from cluster.organisations.caller import acting_as, command_user
from cluster.settings import Settings

#: Number of jobs that one query reads.
PAGE = 1_000
#: Width in characters of a table that is not printed on a terminal.
FILE_WIDTH = 250
#: The states of the jobs that ``cancel`` changes if options select the jobs.
OPEN = (JobState.QUEUED, JobState.RUNNING)

#: Changes one job. Each job is changed in a transaction of its own.
Change = Callable[[Connection[Any], Job], Job]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with acting_as(command_user()):
        return run_subcommand(parser, options)


def _list(settings: Settings, options: argparse.Namespace) -> int:
    with closing(open_pool(settings, access=ALL)) as pool:
        jobs = _chosen(pool, _owner(settings, options), options, limit=options.limit)
    if options.json:
        print(json.dumps([_fields(job) for job in jobs]))
    else:
        table = Table("id", "kind", "state", "class", "attempt", "worker", "error", box=None, pad_edge=False)
        for job in jobs:
            table.add_row(*(str(value or "") for value in _fields(job).values()))
        Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)
    return 0


def _cancel(settings: Settings, options: argparse.Namespace) -> int:
    def cancel(connection: Connection[Any], job: Job) -> Job:
        if not kind_named(job.kind).cancellable:
            raise Conflict(f"job {job.id} of kind {job.kind} cannot be cancelled; wait for its end")
        return cancel_with_entries(connection, job)

    return _change(settings, options, cancel, OPEN, "cancelled")


def _retry(settings: Settings, options: argparse.Namespace) -> int:
    def retry(connection: Connection[Any], job: Job) -> Job:
        return queue.replay(connection, job.organisation, job.id, attempts=settings.job_attempts)

    states = (JobState(options.state or JobState.FAILED),)
    return _change(settings, options, retry, states, "queued again")


def _change(
    settings: Settings, options: argparse.Namespace, change: Change, states: Sequence[JobState], done: str
) -> int:
    """Change the jobs that the options name or select. Return the exit code: 0, or 1 if a job could not be
    changed.

    Raises:
        InvalidInput: the options name jobs and also select jobs, or they do neither.
    """
    owner, failed = _owner(settings, options), 0
    selects = any(
        getattr(options, name) is not None
        for name in ("state", "kind", "priority_class", "error_code", "subject")
    )
    if bool(options.jobs) == selects:
        raise InvalidInput("give ids of jobs, or options that select jobs (--state, --kind, ...), not both")
    with closing(open_pool(settings, access=ALL)) as pool:
        ids = options.jobs or [
            job.id for job in _chosen(pool, owner, options, limit=None) if job.state in states
        ]
        for id in ids:
            try:
                with translated(), pool.connection() as connection:
                    change(connection, get_job(connection, owner, id))
            except ClusterError as exc:
                failed += 1
                print(f"{id}: {exc}", file=sys.stderr)
    print(f"{len(ids) - failed:,} jobs {done}, {failed:,} not")
    return EXIT_FAILED if failed else 0


def _chosen(pool: ConnectionPool, owner: str, options: argparse.Namespace, *, limit: int | None) -> list[Job]:
    """Return the jobs that the options select, the newest first; all these jobs if ``limit`` is None."""
    chosen = JobFilter(
        kind=options.kind,
        state=None if options.state is None else JobState(options.state),
        priority_class=None if options.priority_class is None else PriorityClass(options.priority_class),
        subject=options.subject,
        error_code=options.error_code,
    )
    found: list[Job] = []
    with translated(), pool.connection() as connection:
        while True:
            page = PageRequest(
                limit=min(PAGE, limit - len(found)) if limit else PAGE,
                after=found[-1].id if found else None,
            )
            read = list_jobs(connection, owner, chosen, page)
            found += read.items
            if not read.has_more or len(found) == limit:
                return found


def _fields(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "priority_class": job.priority_class.value,
        "attempt": job.attempt,
        "worker": job.worker,
        "error": job.error,
    }


def _owner(settings: Settings, options: argparse.Namespace) -> str:
    owner: str = options.organisation or settings.organisation
    return owner


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.jobs",
        description="List, cancel and retry the jobs of an organisation. The jobs of the cluster itself "
        "belong to the organisation system.",
        epilog="Settings are environment variables, listed in docs/settings.md. Exit codes: 0, done; 1, a "
        "job could not be changed, or the command failed; 2, wrong usage.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    show = add_subcommand(commands, "list", _list, "List jobs, the newest first.")
    show.add_argument("--limit", type=int, default=20, help="maximum number of jobs (default: 20)")
    show.add_argument("--json", action="store_true", help="print JSON on standard output")
    cancel = add_subcommand(commands, "cancel", _cancel, "Cancel jobs that wait or run.")
    retry = add_subcommand(
        commands, "retry", _retry, "Queue failed or cancelled jobs again (without --state: failed)."
    )
    for command in (cancel, retry):
        command.add_argument("jobs", nargs="*", metavar="JOB", help="ids of jobs")
    for command in (show, cancel, retry):
        add = command.add_argument
        add("--organisation", help="owner of the jobs (default: CLUSTER_ORGANISATION)")
        add(
            "--kind", choices=sorted(KINDS), metavar="KIND", help="only jobs of this kind, such as index_file"
        )
        add("--state", choices=[state.value for state in JobState], help="only jobs in this state")
        classes = [one.value for one in PriorityClass]
        add("--priority-class", choices=classes, help="only jobs of this priority class")
        add("--subject", help="only jobs about the file or vector store with this id")
        add("--error-code", help="only jobs that failed with this code")
    return parser


if __name__ == "__main__":
    sys.exit(main())
