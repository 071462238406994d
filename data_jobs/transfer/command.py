"""The code that the commands for whole stores share: arguments, progress, the summary, and exit codes.

sys.exit(run(options, work, title="Copied a to b"))
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cluster.command import read_settings
from cluster.documents.file_names import shown_name
from cluster.errors import ClusterError, Permanent
from cluster.logs import configure
from cluster.settings import Settings
from cluster.tracing import start_tracing

log = structlog.get_logger(__name__)

EXIT_OK, EXIT_CUT_SHORT, EXIT_USAGE, EXIT_SOME_FAILED = 0, 1, 2, 3
EXIT_CODES = (
    "Exit codes: 0, everything was done; 3, some chunks were not written (the summary says which and why); "
    "2, wrong usage; 1, the run was cut short: run it again."
)
#: Seconds between two lines of progress in the log, if there is no terminal for a progress bar.
LOG_INTERVAL_S = 10.0

#: The summary of a run: names and values, in the order in which they are printed.
Summary = Mapping[str, Any]


def add_common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments that every command for whole stores has, and return the parser."""
    parser.add_argument(
        "--organisation",
        metavar="ID",
        help="organisation that owns the store (default: CLUSTER_ORGANISATION, else 'default')",
    )
    parser.add_argument(
        "--json", action="store_true", help="also print the summary as one JSON object on standard output"
    )
    return parser


def run(options: argparse.Namespace, work: Callable[[Settings], Summary], *, title: str) -> int:
    """Do the work with the settings of this environment, print the summary, and return the exit code.

    Args:
        work: does the work and returns the summary. The list ``left_out`` of the summary has the reasons why
            documents or chunks were left out.
        title: title of the summary.
    """
    console = Console(stderr=True)
    try:
        settings = read_settings(organisation=options.organisation)
        configure(settings)
        start_tracing(settings, process="bulk")
        summary = work(settings)
    except Permanent as exc:
        print(f"error: {exc}", file=sys.stderr)
        return EXIT_USAGE
    except (ClusterError, KeyboardInterrupt) as exc:
        print(
            f"error: {str(exc) or 'cancelled'}\n"
            "What was written stays; run the same command again to continue.",
            file=sys.stderr,
        )
        return EXIT_CUT_SHORT
    _print(console, title, summary)
    if options.json:
        print(json.dumps(summary))
    return (
        EXIT_SOME_FAILED
        if summary["failed"] or summary["left_out"] or not summary.get("equal", True)
        else EXIT_OK
    )


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar during the block or, if there is no terminal, write lines to the log. The block
    calls the yielded function with the number of chunks that are done so far.
    """
    console = Console(stderr=True)
    logged = time.monotonic()
    columns = (TextColumn("chunks"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("chunks", total=total)

        def advance(done: int) -> None:
            nonlocal logged
            bar.update(task, completed=done)
            if not console.is_terminal and time.monotonic() - logged > LOG_INTERVAL_S:
                logged = time.monotonic()
                log.info("progress", done=done, total=total)

        yield advance


def _print(console: Console, title: str, summary: Summary) -> None:
    table = Table(title=escape(shown_name(title)), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in summary.items():
        if name != "left_out":
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            table.add_row(name.replace("_", " "), escape(shown))
    console.print(table)
    for reason in summary["left_out"]:
        console.print(f"  [yellow]left out[/] {escape(reason)}", soft_wrap=True)
