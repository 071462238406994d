"""Three processes look for due schedules while processes die and the clock jumps: each time gives one job."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from psycopg import Connection

from cluster.jobs.schedules.cron import Timing
from cluster.jobs.schedules.schedules import Schedule, create_schedule
from tests.cluster.jobs.schedules.scheduler_process import look_for_due_schedules
from tests.cluster.jobs.turns import TEST
from tests.waiting import until

#: Minutes of the test's clock, and the minutes without any process.
TICKS, OUTAGE = 200, range(100, 110)
#: Minutes at which a process is killed, and those at which the clock jumps back or forward for a moment.
KILLS, JUMPS = range(9, TICKS, 20), {60: -45, 150: 8}
MINUTE = timedelta(minutes=1)
#: An hour before clocks go back in Berlin. No other schedule is due at this time.
FIRST = datetime(2020, 10, 25, 0, 0, tzinfo=UTC)
#: Real seconds of a minute of the test's clock.
TICK_S = 0.006
SEED = 20_201_025


class Schedulers:
    """Three processes, of which each can be killed. They start fast, from a process with the imports."""

    def __init__(self, database_url: str, clock: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([look_for_due_schedules.__module__])
        self._arguments = (database_url, clock)
        self.running: list[BaseProcess] = []

    def start(self, count: int) -> None:
        """Start processes."""
        for _ in range(count):
            process = self._context.Process(target=look_for_due_schedules, args=self._arguments)
            process.start()
            self.running.append(process)

    def kill(self, process: BaseProcess) -> None:
        """Send the process SIGKILL."""
        process.kill()
        process.join()
        self.running.remove(process)

    def kill_all(self) -> None:
        """Send every process SIGKILL."""
        for process in self.running.copy():
            self.kill(process)


@contextmanager
def schedulers(database_url: str, clock: Path) -> Iterator[Schedulers]:
    found = Schedulers(database_url, clock)
    try:
        yield found
    finally:
        found.kill_all()


def make(connection: Connection[Any], organisation: str, timing: Timing) -> Schedule:
    made = create_schedule(connection, organisation, TEST, timing)
    assert made is not None
    connection.execute(
        "UPDATE schedules SET next_run_at = %s WHERE id = %s",
        [timing.next_after(FIRST - MINUTE) if timing.cron else FIRST, made.id],
    )
    return made


def jobs_of(connection: Connection[Any], schedule: Schedule) -> list[datetime]:
    """The time of each job of the schedule."""
    query = "SELECT scheduled_for FROM jobs WHERE schedule = %s ORDER BY scheduled_for"
    return [time for (time,) in connection.execute(query, [schedule.id])]


def live_through(chosen: Schedulers, clock: Path) -> None:
    """Let the clock go through all minutes, with kills, jumps and an outage."""
    draw = random.Random(SEED)
    for tick in range(TICKS):
        if tick == OUTAGE.start:
            chosen.kill_all()
        if tick == OUTAGE.stop:
            chosen.start(3)
        for shift in (JUMPS.get(tick, 0), 0):
            clock.with_suffix(".new").write_text((FIRST + (tick + shift) * MINUTE).isoformat())
            clock.with_suffix(".new").rename(clock)
            time.sleep(TICK_S * draw.random() * 2)
        if tick in KILLS and tick not in OUTAGE:
            chosen.kill(draw.choice(chosen.running))
            chosen.start(1)


def test_three_processes_submit_one_job_for_each_of_200_times(
    connection: Connection[Any], organisation: str, database_url: str, tmp_path: Path
) -> None:
    timings = [
        Timing(cron="* * * * *"),
        Timing(cron="*/7 2,3 * * *", time_zone="Europe/Berlin"),
        Timing(interval_s=90),
    ]
    made = [make(connection, organisation, timing) for timing in timings]
    clock, last = tmp_path / "clock", FIRST + (TICKS - 1) * MINUTE
    clock.write_text(FIRST.isoformat())
    expected = []
    for timing in timings:
        times = timing.times_from(timing.first_from(FIRST, now=FIRST - MINUTE))
        expected.append(list(takewhile(lambda time: time <= last, times)))
    with schedulers(database_url, clock) as chosen:
        chosen.start(3)
        live_through(chosen, clock)
        counts = [len(times) for times in expected]
        until(lambda: [len(jobs_of(connection, one)) for one in made] >= counts)
        time.sleep(10 * TICK_S)  # for second jobs
    assert len(expected[0]) == TICKS
    assert [jobs_of(connection, one) for one in made] == expected
    connection.execute("DELETE FROM schedules WHERE kind = %s", [TEST.name])
