"""Compute the billing periods of an organisation, in whole days of its time zone.

A period begins on the organisation's billing day, and ends on the day before the next billing day. The period
after a final report begins where that report ended. So periods have no gaps and do not overlap, even if the
billing day changes.

    calendar = BillingCalendar(time_zone="Europe/Berlin", billing_day=15, begins=date(2026, 1, 15))
    calendar.period_of(date(2026, 2, 1))       # 2026-01-15 to 2026-02-14
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BillingPeriod:
    """A range of days for which an organisation gets one bill."""

    #: The first day.
    start: date
    #: The day after the last day.
    end: date

    @property
    def last_day(self) -> date:
        """The last day."""
        return self.end - ONE_DAY

    def days(self) -> list[date]:
        """Return every day of the period, in order."""
        return [self.start + number * ONE_DAY for number in range((self.end - self.start).days)]


@dataclass(frozen=True, kw_only=True, slots=True)
class BillingCalendar:
    """Computes the billing periods of one organisation."""

    #: IANA name of the zone in which the organisation's days begin.
    time_zone: str
    #: Day of the month, 1 to 28, on which a period begins.
    billing_day: int
    #: The first day for which the organisation can have usage.
    begins: date
    #: The day after the last day of the latest final report; None if there is no final report.
    covered_until: date | None = None
    #: The day on which the organisation was deleted; None if it is not deleted.
    deleted_on: date | None = None

    def today(self, now: datetime) -> date:
        """Return the date in the organisation's time zone.

        Args:
            now: an instant with a time zone.
        """
        return now.astimezone(ZoneInfo(self.time_zone)).date()

    def period_of(self, day: date) -> BillingPeriod:
        """Return the period that contains the day. A day of a final report belongs to the period of that
        report, which this function does not know.
        """
        start = self.covered_until or _last_billing_day(self.begins, self.billing_day)
        if day < start:
            start = _last_billing_day(day, self.billing_day)
        while (end := _next_billing_day(start, self.billing_day)) <= day:
            start = end
        return BillingPeriod(start=start, end=end)

    def without_final(self, now: datetime, *, grace_days: int = 0) -> Iterator[BillingPeriod]:
        """Return the periods that have no final report and ended at least ``grace_days`` days before ``now``,
        the earliest first. A deleted organisation has no period that begins after the day of its deletion.
        """
        period = self.period_of(self.covered_until or self.begins)
        while self.ended(period, now, grace_days=grace_days):
            if self.deleted_on is not None and period.start > self.deleted_on:
                return
            yield period
            period = BillingPeriod(start=period.end, end=_next_billing_day(period.end, self.billing_day))

    def ended(self, period: BillingPeriod, now: datetime, *, grace_days: int) -> bool:
        """Return True if the period ended at least ``grace_days`` days before ``now``, on the organisation's
        calendar.
        """
        midnight = datetime.combine(
            period.end + grace_days * ONE_DAY, datetime.min.time(), ZoneInfo(self.time_zone)
        )
        return midnight.astimezone(UTC) <= now


def _last_billing_day(day: date, billing_day: int) -> date:
    """Return the latest billing day that is not after the day."""
    if day.day >= billing_day:
        return day.replace(day=billing_day)
    return (day.replace(day=1) - ONE_DAY).replace(day=billing_day)


def _next_billing_day(day: date, billing_day: int) -> date:
    """Return the earliest billing day after the day."""
    if day.day < billing_day:
        return day.replace(day=billing_day)
    return (day.replace(day=28) + 4 * ONE_DAY).replace(day=billing_day)
