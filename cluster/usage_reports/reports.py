"""Read, queue, complete and delete usage reports in the database.

A report is queued, and then completed or failed. A completed final report never changes, and the database
refuses to change or delete it. A period has at most one completed final report. The id of a final report
is made from the period, so two processes that make the report at the same time make one report.

    report = queue_report(connection, "acme", id, period, "UTC", state=FINAL, with_pdf=True)
    complete(connection, report, content, csv_blob, pdf_blob)
"""

from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import class_row

from cluster.blobs import Blob
from cluster.database.paging import FIRST_PAGE, ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.organisations.audit import record
from cluster.usage_reports.content import ReportContent
from cluster.usage_reports.exact import exact_sum
from cluster.usage_reports.lines import keep_lines
from cluster.usage_reports.periods import BillingCalendar, BillingPeriod
from cluster.webhooks.deliveries import record_event

ReportState = Literal["draft", "final"]
ReportStatus = Literal["queued", "completed", "failed"]
DRAFT: ReportState = "draft"
FINAL: ReportState = "final"
QUEUED: ReportStatus = "queued"
COMPLETED: ReportStatus = "completed"


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageReport:
    """A usage report, as the database stores it."""

    organisation: str
    id: str
    #: The first day, in ``time_zone``.
    period_start: date
    #: The day after the last day.
    period_end: date
    #: IANA name of the zone in which the days begin.
    time_zone: str
    state: ReportState
    status: ReportStatus
    #: False if only a CSV was asked for.
    with_pdf: bool
    #: Id of the last job that was queued to make the report; None if no job was queued for it.
    job: str | None
    #: Why the last attempt failed; None otherwise.
    error: str | None
    csv_sha256: str | None
    csv_bytes: int | None
    pdf_sha256: str | None
    pdf_bytes: int | None
    #: Number of lines about the period; None until the report is completed.
    usage_lines: int | None
    #: Number of lines about earlier periods; None until the report is completed.
    adjustment_lines: int | None
    #: Number of usage events of all lines; None until the report is completed.
    events: int | None
    #: Cost of all lines in US dollars; None until the report is completed.
    cost: Decimal | None
    created_at: datetime
    completed_at: datetime | None

    @property
    def period(self) -> BillingPeriod:
        """The days that the report is about."""
        return BillingPeriod(start=self.period_start, end=self.period_end)


COLUMNS = ", ".join(field.name for field in fields(UsageReport))
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.usage_reports", "reports.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def get_calendar(connection: Connection[Any], organisation: str) -> BillingCalendar:
    """Return the billing periods of the organisation.

    Raises:
        NotFound: there is no such organisation.
    """
    row = connection.execute(SQL["calendar"], {"organisation": organisation}).fetchone()
    if row is None:
        raise NotFound(f"no organisation {organisation!r}")
    time_zone, billing_day, created_at, deleted_at, covered_until, first_usage = row
    calendar = BillingCalendar(time_zone=time_zone, billing_day=billing_day, begins=date.min)
    created_on = calendar.today(created_at)
    return BillingCalendar(
        time_zone=time_zone,
        billing_day=billing_day,
        begins=min(created_on, first_usage or created_on),
        covered_until=covered_until,
        deleted_on=None if deleted_at is None else calendar.today(deleted_at),
    )


def queue_report(
    connection: Connection[Any],
    organisation: str,
    id: str,
    period: BillingPeriod,
    time_zone: str,
    *,
    state: ReportState,
    with_pdf: bool,
) -> UsageReport:
    """Queue the report in the caller's transaction, and return it. A report that failed is queued again. A
    completed report is returned as it is.

    Args:
        time_zone: IANA name of the zone in which the days of the period begin.
        with_pdf: True to make a PDF beside the CSV.
    """
    values = {
        "organisation": organisation,
        "id": id,
        "period_start": period.start,
        "period_end": period.end,
        "time_zone": time_zone,
        "state": state,
        "with_pdf": with_pdf,
    }
    return _one(connection, "queue", values) or get_report(connection, organisation, id)


def count_queued(connection: Connection[Any], organisation: str) -> int:
    """Return the number of the organisation's queued reports."""
    row = connection.execute(SQL["queued"], {"organisation": organisation}).fetchone()
    return int(row[0]) if row else 0


def get_report(connection: Connection[Any], organisation: str, id: str) -> UsageReport:
    """Return the report.

    Raises:
        NotFound: the organisation has no such report.
    """
    report = _one(connection, "get", {"organisation": organisation, "id": id})
    if report is None:
        raise NotFound(f"no usage report {id!r}; GET /v1/usage_reports lists your reports")
    return report


def list_reports(
    connection: Connection[Any],
    organisation: str,
    page: PageRequest = FIRST_PAGE,
    *,
    state: ReportState | None = None,
) -> ListPage[UsageReport]:
    """Return a page of the organisation's reports.

    Args:
        state: only reports in this state; None: all reports.

    Raises:
        InvalidInput: the cursor is not a report of the organisation.
    """
    found = read_page(connection, LISTS, {"organisation": organisation, "state": state}, page)
    return ListPage(items=[UsageReport(**row) for row in found.items], has_more=found.has_more)


def final_report_of(connection: Connection[Any], organisation: str, day: date) -> UsageReport | None:
    """Return the completed final report whose period contains the day; None if there is none."""
    return _one(connection, "final_of_day", {"organisation": organisation, "day": day})


def set_job(connection: Connection[Any], report: UsageReport, job: str) -> UsageReport:
    """Record which job makes the report, in the caller's transaction. Return the changed report."""
    values = {"organisation": report.organisation, "id": report.id, "job": job}
    return _one(connection, "set_job", values) or report


def lock_reports(connection: Connection[Any], organisation: str) -> None:
    """Lock the reports of the organisation until the caller's transaction ends. If another transaction holds
    this lock, wait for the end of that transaction.
    """
    connection.execute(SQL["alone"], {"organisation": organisation})


def complete(
    connection: Connection[Any], report: UsageReport, content: ReportContent, csv: Blob, pdf: Blob | None
) -> UsageReport | None:
    """Record the files of the report in the caller's transaction, in which the caller has called
    ``lock_reports``.

    Returns:
        The completed report; None if it was completed before.
    """
    values = {
        "organisation": report.organisation,
        "id": report.id,
        "csv_sha256": csv.sha256,
        "csv_bytes": csv.bytes,
        "pdf_sha256": None if pdf is None else pdf.sha256,
        "pdf_bytes": None if pdf is None else pdf.bytes,
        "usage_lines": len(content.usage),
        "adjustment_lines": len(content.adjustments),
        "events": sum(line.events for line in content.lines),
        "cost": exact_sum(line.cost for line in content.lines),
    }
    completed = _one(connection, "complete", values)
    if completed is None:
        return None
    if completed.state == FINAL:
        keep_lines(connection, report.organisation, report.id, content.lines)
        record(
            connection,
            report.organisation,
            "usage_report.finalised",
            target=report.id,
            details={**about(completed), "csv_sha256": csv.sha256},
        )
    record_event(connection, report.organisation, "usage_report.completed", _data(completed))
    return completed


def fail(connection: Connection[Any], report: UsageReport, error: str) -> UsageReport | None:
    """Record why the report could not be made, in the caller's transaction. Return the report; None if it is
    already completed.
    """
    values = {"organisation": report.organisation, "id": report.id, "error": error}
    failed = _one(connection, "fail", values)
    if failed is not None:
        record_event(connection, report.organisation, "usage_report.failed", _data(failed))
    return failed


def delete_drafts(connection: Connection[Any], organisation: str) -> list[str]:
    """Delete all reports of the organisation that are not completed final reports. Return the hashes of their
    blobs.
    """
    return _hashes(connection.execute(SQL["delete_drafts"], {"organisation": organisation}).fetchall())


def delete_draft(connection: Connection[Any], organisation: str, id: str) -> None:
    """Delete the draft with this id if it is completed."""
    connection.execute(SQL["delete_draft"], {"organisation": organisation, "id": id})


def delete_old_drafts(connection: Connection[Any], *, days: int) -> tuple[list[str], int]:
    """Delete drafts of all organisations that are older than ``days`` days and not queued. Return the hashes
    of their blobs and the number of drafts.
    """
    rows = connection.execute(SQL["delete_old_drafts_of_all"], {"days": days}).fetchall()
    return _hashes(rows), len(rows)


def abandoned_reports(connection: Connection[Any]) -> list[UsageReport]:
    """Return the queued reports, of all organisations, whose jobs failed or were cancelled."""
    with connection.cursor(row_factory=class_row(UsageReport)) as cursor:
        return cursor.execute(SQL["abandoned_of_all"]).fetchall()


def organisations_with_reports(connection: Connection[Any]) -> list[str]:
    """Return the ids of all organisations that get reports, in order."""
    return [id for (id,) in connection.execute(SQL["organisations_of_all"])]


def about(report: UsageReport) -> dict[str, str]:
    """Return what the audit log says about the report."""
    return {
        "period_start": report.period_start.isoformat(),
        "period_end": report.period_end.isoformat(),
        "state": report.state,
    }


def _data(report: UsageReport) -> dict[str, str]:
    return {"id": report.id, "state": report.state}


def _hashes(rows: list[tuple[str | None, str | None]]) -> list[str]:
    return sorted({hash for row in rows for hash in row if hash is not None})


def _one(connection: Connection[Any], statement: str, values: dict[str, Any]) -> UsageReport | None:
    with connection.cursor(row_factory=class_row(UsageReport)) as cursor:
        return cursor.execute(SQL[statement], values).fetchone()
