"""Runs the commands behind ``make up``, ``make down`` and ``make status``.

python -m cluster.local up
"""

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from cluster.command import EXIT_FAILED, run
from cluster.local import lifecycle, status
from cluster.local.next_steps import next_steps
from cluster.settings import Settings

EXIT_OK, EXIT_NOT_RUNNING = 0, 3  # ``cluster.command`` has the other exit codes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(
        lambda settings: _COMMANDS[options.command](settings, console, options), console, log_level="WARNING"
    )


def _up(settings: Settings, console: Console, options: argparse.Namespace) -> int:
    def report(line: str) -> None:
        console.print(f"[dim]·[/] {escape(line)}")

    if options.stay:
        return EXIT_OK if lifecycle.stay(settings, report) else EXIT_FAILED
    started = lifecycle.up(settings, report)
    console.print("The cluster is up." if started else "The cluster was already up.", style="bold green")
    print(next_steps(settings))
    return EXIT_OK


def _down(settings: Settings, console: Console, _: argparse.Namespace) -> int:
    stopped = lifecycle.down(settings, lambda line: console.print(f"[dim]·[/] {escape(line)}"))
    console.print(
        f"The cluster is down. Your data stays in {escape(str(settings.home))}."
        if stopped
        else "Nothing was running.",
        style="bold green",
    )
    return EXIT_OK


def _status(settings: Settings, _: Console, options: argparse.Namespace) -> int:
    found = status.gather(settings)
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        status.show(found, Console(highlight=False))
    return EXIT_OK if found.running else EXIT_NOT_RUNNING


_COMMANDS = {"up": _up, "down": _down, "status": _status}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.local",
        description="Start, stop and inspect the cluster on this machine: Postgres, Ray, HTTP endpoint.",
        epilog="Settings are environment variables: CLUSTER_HOME (the folder with the data), "
        "CLUSTER_API_PORT, CLUSTER_DASHBOARD_PORT, CLUSTER_RAY_PORT and the others in docs/settings.md. "
        "Each home, with ports of its own, is a cluster of its own.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    starting = commands.add_parser(
        "up", help="start everything that does not run, and wait until the endpoint answers; safe to repeat"
    )
    starting.add_argument(
        "--stay",
        action="store_true",
        help="run until SIGTERM or SIGINT, then stop everything, for a container; exit code 1: Ray has ended",
    )
    commands.add_parser("down", help="stop everything that this cluster started; the data stays")
    shown = commands.add_parser(
        "status",
        help="show what runs, and the place and size of the data; exit code 0: it runs, 3: it does not",
    )
    shown.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
