"""Choose the period and the state of a report, and queue it.

report = request_report(connection, "acme", period="previous", with_pdf=True, grace_days=3)
"""

import secrets
from datetime import UTC, date, datetime
from typing import Any

from psycopg import Connection

from cluster.errors import InvalidInput, QuotaExceeded
from cluster.organisations.audit import record
from cluster.records import digest
from cluster.usage_reports.periods import ONE_DAY, BillingCalendar, BillingPeriod
from cluster.usage_reports.reports import (
    DRAFT,
    FINAL,
    UsageReport,
    about,
    count_queued,
    final_report_of,
    get_calendar,
    queue_report,
)

#: Values of a requested period that are not dates.
CURRENT, PREVIOUS = "current", "previous"
#: Maximum number of queued reports of an organisation.
MAX_QUEUED = 50
#: The earliest day of a requested period. Events of an earlier time are refused.
FIRST_DAY = date(2000, 1, 1)


def request_report(
    connection: Connection[Any],
    organisation: str,
    *,
    period: str,
    with_pdf: bool,
    grace_days: int,
    now: datetime | None = None,
) -> UsageReport:
    """Queue a report of the period, in the caller's transaction. If the period has a final report, return
    this report instead.

    The report is final if the period ended at least ``grace_days`` days ago, and does not begin before
    the end of the last final report. Otherwise it is a draft.

    Args:
        period: ``current``, ``previous``, or a day of the period, such as ``2026-03-01``.

    Raises:
        InvalidInput: the period is none of these values, or a day before ``FIRST_DAY`` or after today.
        NotFound: there is no such organisation.
        QuotaExceeded: too many reports of the organisation are queued.
    """
    now = now or datetime.now(UTC)
    calendar = get_calendar(connection, organisation)
    day = _requested_day(period, calendar, now)
    if (final := final_report_of(connection, organisation, day)) is not None:
        return final
    found = calendar.period_of(day)
    begun = calendar.covered_until is None or found.start >= calendar.covered_until
    if begun and calendar.ended(found, now, grace_days=grace_days):
        return queue_final(connection, organisation, found, calendar.time_zone)
    if count_queued(connection, organisation) >= MAX_QUEUED:
        raise QuotaExceeded(
            f"organisation {organisation!r} has {MAX_QUEUED} usage reports that are not made yet; wait until "
            "some are completed, then request this one again"
        )
    id = f"report_{secrets.token_hex(12)}"
    report = queue_report(
        connection, organisation, id, found, calendar.time_zone, state=DRAFT, with_pdf=with_pdf
    )
    record(connection, organisation, "usage_report.requested", target=id, details=about(report))
    return report


def queue_final(
    connection: Connection[Any], organisation: str, period: BillingPeriod, time_zone: str
) -> UsageReport:
    """Queue the final report of the period, in the caller's transaction, and return it. If the report is
    already completed, return it as it is.
    """
    id = scheduled_id(period, FINAL)
    return queue_report(connection, organisation, id, period, time_zone, state=FINAL, with_pdf=True)


def queue_draft(
    connection: Connection[Any], organisation: str, period: BillingPeriod, time_zone: str
) -> UsageReport:
    """Queue the draft that the cluster itself makes of an ended period, in the caller's transaction, and
    return it. If the draft is already completed, return it as it is.
    """
    id = scheduled_id(period, DRAFT)
    return queue_report(connection, organisation, id, period, time_zone, state=DRAFT, with_pdf=True)


def scheduled_id(period: BillingPeriod, state: str) -> str:
    """Return the id of the report that the cluster itself makes of the period."""
    return f"report_{digest(period.start.isoformat(), state)[:24]}"


def _requested_day(period: str, calendar: BillingCalendar, now: datetime) -> date:
    """Return a day of the requested period."""
    today = calendar.today(now)
    if period == CURRENT:
        return today
    if period == PREVIOUS:
        return calendar.period_of(today).start - ONE_DAY
    try:
        day = date.fromisoformat(period)
    except ValueError as exc:
        raise InvalidInput(
            f"period is {period!r}; it must be current, previous, or a day of the period such as 2026-03-01",
            param="period",
        ) from exc
    if not FIRST_DAY <= day <= today:
        raise InvalidInput(
            f"period is {period}; it must be a day from {FIRST_DAY} to today, which is {today} in "
            f"{calendar.time_zone}",
            param="period",
        )
    return day
