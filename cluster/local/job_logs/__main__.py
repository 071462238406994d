"""Print everything about one job from every process, in the order of time.

python -m cluster.local.job_logs job_0123456789abcdef0123456789abcdef
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape

from cluster.command import EXIT_FAILED, run
from cluster.database import in_one_transaction
from cluster.errors import ClusterError, InvalidInput
from cluster.local.job_logs.job_history import JobHistory, read_history
from cluster.local.job_logs.log_entries import LogEntry, matching
from cluster.local.job_logs.log_files import NamedLines, logs_folder, read_dashboard, read_folder
from cluster.settings import Settings

DASHBOARD_PORT = 8265


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    return run(lambda settings: _logs(settings, options, notes), notes, log_level="ERROR")


def _logs(settings: Settings, options: argparse.Namespace, notes: Console) -> int:
    history = _history(settings, options, notes)
    ids = [options.job, *([history.trace_id] if history is not None and history.trace_id else [])]
    entries = [] if history is None else list(history.entries)
    for name, lines in _files(settings, options, notes):
        entries += matching(lines, ids, source=name)
    for entry in sorted(entries, key=lambda one: one.at):
        print(_line(entry, options))
    if history is not None:
        trace = f", trace {history.trace_id}" if history.trace_id else ""
        notes.print(
            f"[dim]{history.kind} of organisation {escape(history.organisation)}, {history.state}{trace}[/]"
        )
    if entries:
        return 0
    notes.print(
        f"Nothing is known about job {escape(options.job)}: check the id, or search the archive of jobs."
    )
    return EXIT_FAILED


def _line(entry: LogEntry, options: argparse.Namespace) -> str:
    return json.dumps(entry.to_dict(), ensure_ascii=False, default=str) if options.json else entry.shown()


def _history(settings: Settings, options: argparse.Namespace, notes: Console) -> JobHistory | None:
    """Read the history of the job from Postgres; None if there is no such job. If Postgres does not answer,
    only print a note and return None, because the log files still help.
    """
    try:
        history = in_one_transaction(
            settings, lambda connection: read_history(connection, options.job, progress=options.progress)
        )
    except ClusterError as exc:
        notes.print(f"[yellow]without the database:[/] {escape(str(exc))}")
        return None
    if history is None:
        notes.print(f"[yellow]The database has no job {escape(options.job)}.[/]")
    return history


def _files(settings: Settings, options: argparse.Namespace, notes: Console) -> Iterable[NamedLines]:
    if options.dashboard is not None:
        address = urlsplit(options.dashboard if "//" in options.dashboard else f"//{options.dashboard}")
        if not address.hostname or address.scheme not in ("", "http"):
            raise InvalidInput(f"--dashboard is {options.dashboard!r}; it must be http://HOST:PORT")
        token = os.environ.get("RAY_AUTH_TOKEN")
        return read_dashboard(
            address.hostname, address.port or DASHBOARD_PORT, None if token is None else SecretStr(token)
        )
    folder = logs_folder(settings)
    if folder is None:
        notes.print(
            f"[yellow]No Ray has run from {escape(str(settings.home))}:[/] for a cluster on other machines, "
            "give the address of Ray's dashboard with --dashboard"
        )
        return []
    return read_folder(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.local.job_logs",
        description="Print everything about one job in the order of time: its events, attempts and stages "
        "from Postgres, and the log lines of every process of Ray that name the job or its trace.",
    )
    parser.add_argument("job", help="id of the job, such as job_0123...")
    parser.add_argument(
        "--dashboard",
        metavar="URL",
        help="address of Ray's dashboard, such as http://HEAD:8265; the files of all live nodes are then "
        "read over it (default: the files of the head that make up started on this machine)",
    )
    parser.add_argument("--progress", action="store_true", help="show the events about progress, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
