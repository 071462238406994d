"""Compute the roll-ups of generated events, compare them with DuckDB, and time the routes of statistics.

    python -m benchmarks.analytics --events 5000000

Four organisations (Berlin, New York, Kolkata, Kathmandu) get events over 45 days with a change to
daylight-saving time. 2% of the events are sent twice and 3% up to 36 hours late. While the events arrive, the
jobs of the roll-ups run several times, each of them twice, and a process is killed with SIGKILL in a
transaction that replaces windows. Afterwards every value of every roll-up must equal what DuckDB computes
from the raw log. Then the routes are asked for 45 days by day. The baseline computes the same answer from the
events, with the query that also computes the roll-ups.
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.table import Table

from benchmarks import own_database
from cluster.analytics.rollups import DAY, compute_days, compute_hours, mark_period, measures_sql, span_values
from cluster.database import bundled
from cluster.settings import Settings
from data_jobs.platform_data.invented_platform import InventedPlatformOptions, invent
from data_jobs.platform_data.write_events import insert_platform
from tests.cluster.analytics.test_exactness import kill_in_mid_rollup
from tests.rolled_platform import ZONES, RolledPlatform, start_before_daylight_saving
from tests.serve_app.conftest import serving

DAYS, AGENTS = 45, 8
#: Number of times that the jobs run while the events arrive.
ROUNDS = 3
PERCENTILES = (50, 95)


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--events", type=int, default=5_000_000, help="different events (default: %(default)s)")
    add("--usage", type=int, default=100_000, help="usage events (default: %(default)s)")
    add("--requests", type=int, default=400, help="requests to each route (default: %(default)s)")
    options = parser.parse_args()
    with own_database() as (settings, pool):
        return _measure(settings, pool, options, settings.home)


def _measure(settings: Settings, pool: ConnectionPool, options: argparse.Namespace, folder: Path) -> int:
    console = Console(width=110)
    rolled = [_generated(pool, folder, options, place) for place in range(len(ZONES))]
    seconds = {"insert": 0.0, "roll up while events arrive": 0.0}
    for place, one in enumerate(rolled):
        _insert(settings, pool, one, seconds, kill=place == 0)
        console.print(f"{one.zone}: inserted", highlight=False)
    wrong = [line for one in rolled for line in one.wrong()]
    console.print(f"{len(wrong)} values differ from DuckDB {wrong[:3]}", highlight=False)
    seconds["compute every window again"] = _timed(lambda: [_again(pool, one) for one in rolled])
    wrong += [line for one in rolled for line in one.wrong()]
    table = Table("step", "s", "events/s", title=f"{options.events:,} events of {len(ZONES)} organisations")
    for name, passed in seconds.items():
        table.add_row(name, f"{passed:,.1f}", f"{options.events / passed:,.0f}")
    console.print(table)
    _fill_the_current_hour(pool, options, rolled)
    _ask(settings, pool, options, rolled[0], console)
    console.print(f"values that differ from DuckDB: {len(wrong)}", highlight=False)
    return 1 if wrong else 0


def _generated(pool: ConnectionPool, folder: Path, options: argparse.Namespace, place: int) -> RolledPlatform:
    wanted = InventedPlatformOptions(
        seed=place,
        events=options.events // len(ZONES),
        start=start_before_daylight_saving(),
        days=DAYS,
        agents=AGENTS,
    )
    return RolledPlatform(pool, folder, wanted, zone=ZONES[place], usage=options.usage // len(ZONES))


def _insert(
    settings: Settings, pool: ConnectionPool, one: RolledPlatform, seconds: dict[str, float], *, kill: bool
) -> None:
    """Insert the events and the usage, and run the jobs meanwhile."""
    total, rounds, rolling = len(one.platform.order), 0, 0.0

    def advance(done: int) -> None:
        nonlocal rounds, rolling
        while done * ROUNDS >= total * (rounds + 1):
            begin, end = (len(one.usage) * place // ROUNDS for place in (rounds, rounds + 1))
            one.insert_usage(begin, end)
            one.insert_price(rounds)
            if kill and rounds == 0:
                kill_in_mid_rollup(bundled.url(settings), one.organisation)
            for job in (compute_hours, compute_hours, compute_days, compute_days):
                rolling += _timed(partial(job, pool, one.organisation))
            rounds += 1

    passed = _timed(lambda: insert_platform(pool, one.platform, one.organisation, advance))
    one.insert_price(ROUNDS)
    rolling += (last := _timed(lambda: compute_days(pool, one.organisation)))
    seconds["insert"] += passed - rolling + last
    seconds["roll up while events arrive"] += rolling


def _again(pool: ConnectionPool, one: RolledPlatform) -> None:
    begin = one.platform.options.start
    with pool.connection() as connection:
        mark_period(connection, one.organisation, begin, begin + timedelta(days=DAYS + 2))
    compute_days(pool, one.organisation)


def _fill_the_current_hour(
    pool: ConnectionPool, options: argparse.Namespace, rolled: list[RolledPlatform]
) -> None:
    """Insert as many events into the current hour as the other hours have on average."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    events = options.events // len(ZONES) // DAYS
    for one in rolled:
        wanted = InventedPlatformOptions(seed=99, events=events, late=0, start=hour, days=1, agents=AGENTS)
        insert_platform(pool, invent(wanted), one.organisation, lambda _: None)


def _ask(
    settings: Settings,
    pool: ConnectionPool,
    options: argparse.Namespace,
    one: RolledPlatform,
    console: Console,
) -> None:
    """Print the latencies of the routes beside the latency of the direct query."""
    with pool.connection() as connection:
        found = connection.execute("SELECT id FROM agents WHERE organisation = %s", [one.organisation])
        agents = [id for (id,) in found]
    with pool.connection() as connection:
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
        connection.autocommit = False
    period = {
        "start_time": one.platform.options.start.isoformat(),
        "end_time": datetime.now(UTC).isoformat(),
        "bucket_width": "1d",
    }
    table = Table("answer", "p50 ms", "p95 ms", "direct query ms", "direct / p95", title="statistics")
    ours = settings.model_copy(update={"organisation": one.organisation})
    with serving(ours) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        for name, paths, agent in (
            ("GET /v1/agents/{id}/stats", [f"/v1/agents/{id}/stats" for id in agents], agents[0]),
            ("GET /v1/stats", ["/v1/stats"], None),
        ):
            times = []
            for number in range(options.requests + len(paths)):
                begun = time.monotonic()
                http.get(paths[number % len(paths)], params=period).raise_for_status()
                times.append(1000 * (time.monotonic() - begun))
            times = sorted(times[len(paths) :])
            middle, high = (times[-(-share * len(times) // 100) - 1] for share in PERCENTILES)
            direct = 1000 * sorted(_timed(partial(_direct, pool, one, agent)) for _ in range(5))[2]
            table.add_row(name, f"{middle:.1f}", f"{high:.1f}", f"{direct:,.0f}", f"{direct / high:.0f}")
    console.print(table)


def _direct(pool: ConnectionPool, one: RolledPlatform, agent: str | None) -> None:
    """Compute every day from the events."""
    with pool.connection() as connection:
        spans: list[Any] = connection.execute(
            "SELECT day::date, start_of_day(day::date, %(zone)s), start_of_day(day::date + 1, %(zone)s)"
            " FROM generate_series(%(from)s::date, %(from)s::date + %(days)s, interval '1 day') AS day",
            {"zone": one.zone, "from": one.platform.options.start.date(), "days": DAYS},
        ).fetchall()
        values = {"organisation": one.organisation, "agent": agent, **span_values(spans)}
        connection.execute(measures_sql(DAY, agent=agent is not None), values).fetchall()


def _timed(work: Callable[[], Any]) -> float:
    """Return the seconds that the work takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


if __name__ == "__main__":
    raise SystemExit(main())
