"""Compute the roll-ups of a period again, with the code that also runs every hour and every night.

    python -m data_jobs.analytics --from 2026-01-01 --to 2026-02-01
    python -m data_jobs.analytics --from 2026-01-01 --to 2026-02-01 --organisation acme

The command may run at any time, also while the cluster works. A second run changes nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

from psycopg_pool import ConnectionPool
from rich.console import Console

from cluster.analytics.rollups import compute_days, mark_period, organisations
from cluster.command import run
from cluster.database import open_pool, translated
from cluster.database.row_access import ALL
from cluster.errors import InvalidInput
from cluster.organisations.rows import get_organisation
from cluster.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(lambda settings: _backfill(settings, options, console), console, log_level="WARNING")


def _backfill(settings: Settings, options: argparse.Namespace, console: Console) -> int:
    begin, end = _utc(options.begin), min(_utc(options.end), datetime.now(UTC))
    if begin >= end:
        raise InvalidInput("--from must be before --to, and in the past")
    with closing(open_pool(settings, access=ALL)) as pool:
        with translated(), pool.connection() as connection:
            if options.organisation is None:
                found = organisations(connection)
            else:
                found = [get_organisation(connection, options.organisation).id]
        for number, organisation in enumerate(found, start=1):
            computed = _compute(pool, organisation, begin, end, console)
            console.print(
                f"{organisation}: computed {computed:,} windows ({number} of {len(found)} organisations)"
            )
    return 0


def _compute(
    pool: ConnectionPool, organisation: str, begin: datetime, end: datetime, console: Console
) -> int:
    """Mark the hours of the period, and compute them and their days. Print the progress."""
    with translated(), pool.connection() as connection:
        mark_period(connection, organisation, begin, end)
    done = 0

    def advance(windows: int) -> None:
        nonlocal done
        done += windows
        console.print(f"{organisation}: {done:,} windows of hours and days")

    return compute_days(pool, organisation, progress=advance)


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.analytics",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    time = datetime.fromisoformat
    add("--from", dest="begin", type=time, required=True, help="first time, in ISO 8601; UTC without a zone")
    add("--to", dest="end", type=time, required=True, help="end of the period, in ISO 8601")
    add("--organisation", help="compute only this organisation (default: all organisations)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
