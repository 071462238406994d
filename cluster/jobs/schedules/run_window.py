"""The window of a job: the hours of the day, and the days of the week, in which the job may begin.

``POST /v1/jobs`` and schedules take windows. ``windowed_jobs.mark`` stores the window with the job,
``attempts.claim`` begins no job outside the job's window, and ``view`` shows until when a job waits.

    window = RunWindow(begins="22:00", ends="06:00", time_zone="Europe/Berlin", days=("mon", "tue"))
    window.opening(datetime.now(UTC))           # now, or the next time at which the window opens
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self

from cluster.errors import InvalidInput
from cluster.jobs.schedules.cron import zone_named

#: Short names of the days of the week, Monday first.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
#: Number of days in which any window opens at least once. A window may open on one day of the week only, and
#: a change of the clock can remove the window of one such day. So this is two weeks and a day.
DAYS_AHEAD = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class RunWindow:
    """Defines the hours in which a job may begin. A job that has begun continues after the window has closed.

    A window whose end is not later than its beginning ends on the next day. ``days`` are the days on which
    the window opens: with ``fri``, a window from 22:00 to 06:00 is open until Saturday, 06:00.

    Raises:
        InvalidInput: a time of day, a day or the time zone is wrong.
    """

    #: Time of day at which the window opens, such as ``22:00``.
    begins: str
    #: Time of day at which the window closes. If it equals ``begins``, the window is open for a whole day.
    ends: str
    #: IANA name of the time zone of ``begins`` and ``ends``.
    time_zone: str = "UTC"
    #: The days on which the window opens.
    days: tuple[str, ...] = DAYS

    def __post_init__(self) -> None:
        for param, value in (("from", self.begins), ("to", self.ends)):
            if not TIME_OF_DAY.fullmatch(value):
                raise InvalidInput(
                    f"window.{param} is {value!r}; it must be a time of day such as 22:00",
                    param=f"window.{param}",
                )
        wrong = [day for day in self.days if day not in DAYS]
        if wrong or not self.days:
            raise InvalidInput(
                f"window.days is {list(self.days)}; it must have one or more of {', '.join(DAYS)}",
                param="window.days",
            )
        zone_named(self.time_zone, param="window.time_zone")

    def opening(self, at: datetime) -> datetime:
        """Return ``at`` if the window is open at this time; otherwise the next time at which the window
        opens.
        """
        first = at.astimezone(zone_named(self.time_zone)).date() - timedelta(days=2)
        for number in range(DAYS_AHEAD + 2):
            opens, closes = self._on(first + timedelta(days=number))
            if DAYS[(first + timedelta(days=number)).weekday()] in self.days and at < closes > opens:
                return max(at, opens)
        raise AssertionError(f"{self} does not open")  # each window opens at least every other week

    def json(self) -> dict[str, Any]:
        """Return the window in the form that requests, answers and the database use."""
        return {
            "from": self.begins,
            "to": self.ends,
            "time_zone": self.time_zone,
            "days": list(self.days),
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """Return the window that a value describes in the form that ``json`` returns."""
        return cls(
            begins=value["from"], ends=value["to"], time_zone=value["time_zone"], days=tuple(value["days"])
        )

    def __str__(self) -> str:
        days = "" if self.days == DAYS else f" on {', '.join(self.days)}"
        return f"{self.begins} to {self.ends} {self.time_zone}{days}"

    def _on(self, day: date) -> tuple[datetime, datetime]:
        """Return the times at which the window of this day opens and closes."""
        zone = zone_named(self.time_zone)
        begins, ends = time.fromisoformat(self.begins), time.fromisoformat(self.ends)
        last = day if ends > begins else day + timedelta(days=1)
        opens, closes = (
            datetime.combine(on, at, tzinfo=zone).astimezone(UTC) for on, at in ((day, begins), (last, ends))
        )
        return opens, closes
