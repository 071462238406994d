"""Compute the times of a schedule from a cron expression in a time zone, or from an interval.

``schedules`` computes the next time of a schedule with this module, and ``due`` computes the times that were
missed. The times depend on the expression, the time zone and the starting time only, so every process
computes the same times.

    timing = Timing(cron="0 2 * * *", time_zone="Europe/Berlin")
    timing.next_after(datetime.now(UTC))
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter  # type: ignore[import-untyped]

from cluster.errors import InvalidInput

#: Maximum interval of a schedule: one year.
LONGEST_INTERVAL_S = 366 * 86_400
LONGEST_CRON = 256
CRON_FIELDS = 5
HOUR = 1
#: One value in a field of a cron expression. croniter also reads R as a random value, which would give each
#: process different times, and ignores the W in 15W. So this pattern accepts neither R nor W.
CRON_VALUE = re.compile(r"\*|\?|\d{1,2}|[a-zA-Z]{3}|[lL]\d?")
SEPARATORS = re.compile(r"[,\-/#]")
DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Computes the times of a schedule by one rule: a cron expression or an interval.

    A cron expression follows the clock of its time zone. When clocks go back, one hour occurs twice: an
    expression with fixed hours has times in the first of the two hours only, and an expression whose hours
    begin with ``*`` has times in both. When clocks go forward, one hour is skipped: a fixed time in that hour
    comes one hour later (02:30 becomes 03:30), and an expression whose hours begin with ``*`` has no time
    there.

    Raises:
        InvalidInput: both or neither of ``cron`` and ``interval_s`` are given; the cron expression is
            invalid; the interval is not in 1..``LONGEST_INTERVAL_S``; or the time zone is unknown.
    """

    #: Five fields: minute, hour, day of month, month, day of week. None if ``interval_s`` is set.
    cron: str | None = None
    #: Seconds between two times; None if ``cron`` is set.
    interval_s: int | None = None
    #: IANA name of the time zone in which the cron expression is read.
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.interval_s is None):
            raise InvalidInput("a schedule needs either cron or interval_s, and not both", param="cron")
        if self.interval_s is not None and not 0 < self.interval_s <= LONGEST_INTERVAL_S:
            raise InvalidInput(
                f"interval_s is {self.interval_s}; it must be in 1..{LONGEST_INTERVAL_S}", param="interval_s"
            )
        zone_named(self.time_zone)
        if self.cron is not None:
            _check_cron(self.cron)

    def next_after(self, at: datetime) -> datetime:
        """Return the first time after ``at``, in UTC. For an interval, ``at`` is a time of the schedule.

        Raises:
            InvalidInput: the cron expression matches no time.
        """
        if self.interval_s is not None:
            return at.astimezone(UTC) + timedelta(seconds=self.interval_s)
        assert self.cron is not None
        try:
            return _next_cron_time(self.cron, zone_named(self.time_zone), at)
        except (ValueError, OverflowError) as exc:
            raise _wrong(self.cron, str(exc)) from exc

    def first_from(self, beginning: datetime, *, now: datetime) -> datetime:
        """Return the first time of a new schedule: after ``now``, and not earlier than ``beginning``.

        For an interval, this is ``beginning``, or one interval after ``now`` if ``beginning`` has passed.
        """
        if beginning <= now:
            return self.next_after(now)
        if self.interval_s is not None:
            return beginning.astimezone(UTC)
        return self.next_after(beginning - timedelta(microseconds=1))

    def times_from(self, first: datetime) -> Iterator[datetime]:
        """Return the times from ``first`` on, without an end. ``first`` is a time of the schedule."""
        while True:
            yield first
            first = self.next_after(first)

    def latest(self, first: datetime, now: datetime) -> datetime:
        """Return the last time that is not later than ``now``.

        Args:
            first: a time of the schedule that is not later than ``now``.
        """
        if self.interval_s is not None:
            interval = timedelta(seconds=self.interval_s)
            return first + (now - first) // interval * interval
        back = timedelta(minutes=2)  # becomes longer in each step, so that a long outage costs few steps
        while now - back > first:
            found = self.next_after(now - back)
            if found <= now:
                first = found
                break
            back *= 4
        for time in self.times_from(first):
            if time > now:
                break
            first = time
        return first

    def upcoming(self, first: datetime, count: int) -> list[datetime]:
        """Return ``count`` times from ``first`` on, on the clock of the schedule's time zone."""
        zone = zone_named(self.time_zone)
        return [time.astimezone(zone) for time in islice(self.times_from(first), count)]


def zone_named(name: str, *, param: str = "time_zone") -> ZoneInfo:
    """Return the time zone with this IANA name.

    Args:
        param: the field that the error names.

    Raises:
        InvalidInput: there is no such time zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise InvalidInput(
            f"time_zone is {name!r}; it must be an IANA name such as Europe/Berlin", param=param
        ) from exc


def _check_cron(cron: str) -> None:
    fields = cron.split()
    if len(fields) != CRON_FIELDS or len(cron) > LONGEST_CRON:
        raise InvalidInput(
            f"cron is {cron[:LONGEST_CRON]!r}; it must have five fields: minute, hour, day of month, month, "
            f"day of week, with at most {LONGEST_CRON} characters",
            param="cron",
        )
    for value in (value for field in fields for value in SEPARATORS.split(field)):
        if not CRON_VALUE.fullmatch(value):
            raise _wrong(cron, f"{value!r} is no number, name, L or *")
    try:
        croniter(cron)
    except ValueError as exc:
        raise _wrong(cron, str(exc)) from exc


def _wrong(cron: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"cron is {cron!r}: {reason}; send an expression such as '30 2 * * mon-fri'", param="cron"
    )


def _next_cron_time(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first time after ``after``.

    croniter steps through the times that the zone's clock shows. If the clock changes within a day before or
    after ``after``, one clock time may mean two times. The steps then begin earlier, to find both.
    """
    every_hour = cron.split()[HOUR].startswith("*")
    now, before, later = (_offset(at, zone) for at in (after, after - DAY, after + DAY))
    moved = max(timedelta(), now - later if every_hour else now - before)
    local = after.astimezone(zone).replace(tzinfo=None)
    clock = croniter(cron, local - moved)
    best: datetime | None = None
    while True:
        shown: datetime = clock.get_next(datetime)
        times = _meanings(shown, zone, every_hour=every_hour)
        best = min([time for time in times if time > after] + ([best] if best else []), default=None)
        # A clock time that the clock skips means a time after the change, so a later step may still find an
        # earlier time. The search ends only when the steps have passed the clock time of ``best``.
        if best is not None and (not times or times[0] > after) and shown >= _clock(best, zone):
            return best


def _meanings(shown: datetime, zone: ZoneInfo, *, every_hour: bool) -> list[datetime]:
    """Return the times that a clock time means in a cron expression, in order.

    If the hours of the expression begin with ``*`` (``every_hour``), these are all times at which the clock
    shows ``shown``: two if the clock shows it twice, none if the clock skips it. Otherwise this is one time:
    the first of two, or, if the clock skips ``shown``, the time with the offset from before the change, which
    is a time after the change.
    """
    first = shown.replace(tzinfo=zone).astimezone(UTC)
    if not every_hour:
        return [first]
    if _clock(first, zone) != shown:
        return []
    second = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return [first] if first == second else [first, second]


def _clock(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
