"""The times of a schedule are those that its expression means, over every change of the clock."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import InvalidInput
from cluster.jobs.schedules.cron import Timing

#: A day before each change of the clock: by an hour, by half an hour, at midnight, and back by an hour.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 28, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 10, 31, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 3, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 2, 15, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 22, 22, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 4, 22, 22, tzinfo=UTC)),
]
MINUTE = timedelta(minutes=1)
SPAN = timedelta(days=2, hours=6)


def values(field: str, count: int) -> set[int]:
    """The numbers of one field, for the forms that this test uses."""
    found = set[int]()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        low, high = (0, count - 1) if span == "*" else (int(first), int(last or first))
        found |= set(range(low, high + 1, int(step or 1)))
    return found


def defined(cron: str, zone: ZoneInfo, first: datetime) -> list[datetime]:
    """The times by their definition: every minute of the span is compared with the expression."""
    minute, hour = cron.split()[:2]
    minutes, hours = values(minute, 60), values(hour, 24)
    if hour.startswith("*"):
        shown = (first + n * MINUTE for n in range(1, int(SPAN / MINUTE) + 1))
        local = ((at, at.astimezone(zone)) for at in shown)
        return [at for at, clock in local if clock.minute in minutes and clock.hour in hours]
    start = first.astimezone(zone).replace(tzinfo=None) - timedelta(hours=3)
    clocks = (start + n * MINUTE for n in range(int(SPAN / MINUTE) + 600))
    matching = (at for at in clocks if at.minute in minutes and at.hour in hours)
    times = {at.replace(tzinfo=zone).astimezone(UTC) for at in matching}
    return sorted(at for at in times if first < at <= first + SPAN)


@settings(max_examples=60)
@given(
    change=st.sampled_from(CHANGES),
    minute=st.sampled_from(["0", "30", "*/20", "10,50", "59", "*/7"]),
    hour=st.sampled_from(["*", "*/2", "*/3", "1", "2", "3", "2,3", "0", "23", "1-3", "0-23/2"]),
    shift=st.integers(0, 90),
)
def test_the_times_are_the_minutes_that_match(
    change: tuple[str, datetime], minute: str, hour: str, shift: int
) -> None:
    zone, first = change[0], change[1] + shift * MINUTE
    cron = f"{minute} {hour} * * *"
    timing = Timing(cron=cron, time_zone=zone)
    found = takewhile(lambda at: at <= first + SPAN, timing.times_from(timing.next_after(first)))
    assert list(found) == defined(cron, ZoneInfo(zone), first)


def times(cron: str, zone: str, first: datetime, count: int) -> list[str]:
    timing = Timing(cron=cron, time_zone=zone)
    return [f"{at.astimezone(UTC):%d %H:%M}" for at in timing.upcoming(timing.next_after(first), count)]


@pytest.mark.parametrize(
    ("cron", "first", "expected"),
    [
        ("30 2 * * *", datetime(2026, 10, 24, tzinfo=UTC), ["24 00:30", "25 00:30", "26 01:30"]),
        ("0 * * * *", datetime(2026, 10, 24, 23, 30, tzinfo=UTC), ["25 00:00", "25 01:00", "25 02:00"]),
        ("30 2 * * *", datetime(2026, 3, 28, tzinfo=UTC), ["28 01:30", "29 01:30", "30 00:30"]),
        ("0 * * * *", datetime(2026, 3, 28, 23, 30, tzinfo=UTC), ["29 00:00", "29 01:00", "29 02:00"]),
        ("*/20 2 * * *", datetime(2026, 10, 25, 1, 5, tzinfo=UTC), ["26 01:00", "26 01:20", "26 01:40"]),
        ("*/20 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), ["29 01:00", "29 01:20", "29 01:40"]),
        ("0 */2 * * *", datetime(2026, 3, 28, 22, 30, tzinfo=UTC), ["28 23:00", "29 02:00", "29 04:00"]),
    ],
    ids=[
        "daily, back",
        "hourly, back",
        "daily, forward",
        "hourly, forward",
        "in the second of two hours",
        "three times in the skipped hour",
        "every other hour, forward",
    ],
)
def test_a_daily_schedule_has_one_time_and_an_hourly_one_every_hour_when_clocks_change(
    cron: str, first: datetime, expected: list[str]
) -> None:
    assert times(cron, "Europe/Berlin", first, 3) == expected


@pytest.mark.parametrize("cron", ["* * * * *", "0 2 * * *", "0 0 1 1 *", "*/7 3 * * mon"])
@pytest.mark.parametrize("days", [0, 1, 400])
def test_the_latest_time_is_the_last_one_of_all(cron: str, days: int) -> None:
    timing = Timing(cron=cron, time_zone="Europe/Berlin")
    first = timing.next_after(datetime(2026, 3, 1, tzinfo=UTC))
    now = first + timedelta(days=days)
    found = timing.latest(first, now)
    assert found <= now < timing.next_after(found)


def test_the_latest_time_of_an_interval_counts_from_its_beginning() -> None:
    first = datetime(2026, 3, 1, tzinfo=UTC)
    timing = Timing(interval_s=7)
    assert timing.latest(first, first + timedelta(seconds=27)) == first + timedelta(seconds=21)
    assert timing.latest(first, first) == first


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"cron": "every day"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "R * * * *"}, "cron"),
        ({"cron": "0 0 15W * *"}, "cron"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0,1" * 200 + " * * * *"}, "cron"),
        ({"cron": "0 2 * * *", "interval_s": 60}, "cron"),
        ({}, "cron"),
        ({"interval_s": 0}, "interval_s"),
        ({"interval_s": 10**12}, "interval_s"),
        ({"cron": "0 2 * * *", "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"cron": "0 2 * * *", "time_zone": "../etc/passwd"}, "time_zone"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(options: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Timing(**options)  # type: ignore[arg-type]
    assert refused.value.param == param


def test_an_expression_that_matches_no_time_is_refused() -> None:
    with pytest.raises(InvalidInput, match="31 2"):
        Timing(cron="0 0 31 2 *").next_after(datetime(2026, 1, 1, tzinfo=UTC))


def test_time_zones_are_known_on_a_system_without_a_list_of_them() -> None:
    script = "from cluster.jobs.schedules.cron import zone_named; print(zone_named('Europe/Berlin'))"
    environment = {**os.environ, "PYTHONTZPATH": ""}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert run.stdout == "Europe/Berlin\n", run.stderr
