"""Generate events of an invented platform, for demos, tests and benchmarks.

    python -m data_jobs.generate_platform_data --seed 7 --events 100000 --output events.jsonl
    python -m data_jobs.generate_platform_data --seed 7 --events 100000 --organisation acme

With --output, the events are written into a file; otherwise they are inserted into the database. The same
options always give the same events. The command prints the true counts and sums as JSON. It needs about 100
bytes of memory for each event.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from psycopg_pool import ConnectionPool
from rich.console import Console

from cluster.command import run
from cluster.database import open_pool, organisation_access, translated
from cluster.errors import InvalidInput
from cluster.organisations.rows import get_organisation
from cluster.settings import Settings
from data_jobs.platform_data.invented_platform import (
    DEFAULT_START,
    InventedPlatform,
    InventedPlatformOptions,
    invent,
)
from data_jobs.platform_data.sent_events import sent_events, truth
from data_jobs.platform_data.write_events import insert_platform, write_file

MAX_EVENTS = 100_000_000
MAX_PERCENT = 50
MAX_DAYS = 3_650
MAX_AGENTS = 10_000
#: Number of seconds between two lines of progress.
PROGRESS_INTERVAL_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(lambda settings: _generate(settings, options, console), console, log_level="ERROR")


def _generate(settings: Settings, options: argparse.Namespace, console: Console) -> int:
    for name, least, most in (
        ("seed", 0, 2**63 - 1),
        ("events", 1, MAX_EVENTS),
        ("duplicates", 0, MAX_PERCENT),
        ("late", 0, MAX_PERCENT),
        ("days", 1, MAX_DAYS),
        ("agents", 1, MAX_AGENTS),
    ):
        if not least <= getattr(options, name) <= most:
            raise InvalidInput(f"--{name} is {getattr(options, name)}; it must be in {least}..{most:,}")
    wanted = InventedPlatformOptions(
        seed=options.seed,
        events=options.events,
        duplicates=options.duplicates,
        late=options.late,
        start=_start(options),
        days=options.days,
        agents=options.agents,
    )
    platform = invent(wanted)
    if options.output is None:
        organisation = options.organisation or settings.organisation
        with closing(open_pool(settings, access=organisation_access(organisation))) as pool:
            with translated(), pool.connection() as connection:
                get_organisation(connection, organisation)
            _insert(pool, platform, organisation, console)
    else:
        write_file(options.output, sent_events(platform))
    print(orjson.dumps(truth(platform), option=orjson.OPT_INDENT_2).decode())
    return 0


def _insert(pool: ConnectionPool, platform: InventedPlatform, organisation: str, console: Console) -> None:
    """Insert the events, and show the progress and the speed."""
    total, begun, shown = len(platform.order), time.monotonic(), 0.0

    def advance(done: int) -> None:
        nonlocal shown
        passed = time.monotonic() - begun
        if done == total or passed - shown >= PROGRESS_INTERVAL_S:
            shown = passed
            console.print(f"sent {done:,} of {total:,} events, {done / passed:,.0f} events/s")

    accepted = insert_platform(pool, platform, organisation, advance)
    console.print(f"{accepted:,} events are new, {total - accepted:,} were known")


def _start(options: argparse.Namespace) -> datetime:
    start: datetime = options.start
    start = start.replace(tzinfo=UTC) if start.tzinfo is None else start
    if options.output is None and start + timedelta(days=options.days) > datetime.now(UTC):
        raise InvalidInput("--start and --days must end in the past, because future events are refused")
    return start


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.generate_platform_data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, required=True, help="the same seed gives the same events")
    parser.add_argument("--events", type=int, required=True, help="number of different events")
    parser.add_argument("--organisation", help="owner of the events (default: CLUSTER_ORGANISATION)")
    parser.add_argument("--output", type=Path, help="write a file that ends in .jsonl or .parquet instead")
    parser.add_argument("--duplicates", type=float, default=2.0, help="percent sent twice (default: 2)")
    parser.add_argument("--late", type=float, default=3.0, help="percent up to 36 hours late (default: 3)")
    parser.add_argument(
        "--start",
        type=datetime.fromisoformat,
        default=DEFAULT_START,
        help="time of the first conversations, in ISO 8601 (default: 2026-03-01)",
    )
    parser.add_argument("--days", type=int, default=45, help="length of the period (default: 45)")
    parser.add_argument("--agents", type=int, default=8, help="number of agents (default: 8)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
