"""Every roll-up equals an independent computation from the raw log, whatever happens during the work."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg_pool import ConnectionPool

from cluster.analytics.rollups import compute_days, compute_hours
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from data_jobs.platform_data.invented_platform import InventedPlatformOptions
from data_jobs.platform_data.sent_events import sent_events
from tests.rolled_platform import ZONES, RolledPlatform, start_before_daylight_saving

PARTS = 3
#: Computes roll-ups, and stops for ever in a transaction that has replaced windows.
STOPS = """
import sys, time
from psycopg_pool import ConnectionPool
from cluster.analytics import rollups

replace = rollups.replace
def replace_and_stop(*arguments):
    replace(*arguments)
    print("replaced", flush=True)
    time.sleep(600)
rollups.replace = replace_and_stop
with ConnectionPool(sys.argv[1], min_size=1) as pool:
    rollups.compute_days(pool, sys.argv[2])
"""


@pytest.mark.parametrize("place", range(len(ZONES)), ids=ZONES)
def test_every_rollup_equals_what_duckdb_computes(
    pool: ConnectionPool, database_url: str, tmp_path: Path, place: int
) -> None:
    options = InventedPlatformOptions(
        seed=place, events=900, late=3, start=start_before_daylight_saving(), days=30, agents=3
    )
    rolled = RolledPlatform(pool, tmp_path, options, zone=ZONES[place], usage=200)
    sent, organisation = list(sent_events(rolled.platform)), rolled.organisation
    jobs: list[Callable[[], int]] = [
        lambda: compute_hours(pool, organisation),
        lambda: compute_days(pool, organisation),
    ]
    for part in range(PARTS):
        slices = [
            slice(len(all) * part // PARTS, len(all) * (part + 1) // PARTS) for all in (sent, rolled.usage)
        ]
        events, faults = read_events(organisation, sent[slices[0]])
        assert not faults
        with pool.connection() as connection:
            ingest(connection, organisation, events)
        rolled.insert_usage(slices[1].start, slices[1].stop)
        if part == 1 and place == 0:
            kill_in_mid_rollup(database_url, organisation)
        for job in jobs:
            job()
            assert job() == 0  # the second run finds nothing to do
        rolled.insert_price(part)
    rolled.insert_price(PARTS)
    compute_days(pool, organisation)
    assert rolled.wrong() == []


def kill_in_mid_rollup(database_url: str, organisation: str) -> None:
    """Kill a process with SIGKILL that has replaced windows and has not committed."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS, database_url, organisation], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "replaced\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
