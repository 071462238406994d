"""Accept a request for a report: queue the report and the job that makes it, in one transaction.

report = submit_report(connection, "acme", wanted, grace_days=3)
"""

from typing import Any

from psycopg import Connection

from cluster.jobs import queue
from cluster.jobs.jobs import Job, get_job
from cluster.jobs.kinds import USAGE_REPORT
from cluster.jobs.kinds.inputs import UsageReportInput
from cluster.usage_reports.reports import COMPLETED, UsageReport, set_job
from cluster.usage_reports.requests import request_report

#: Value of ``UsageReportInput.format`` for a CSV and a PDF.
PDF = "pdf"


def submit_report(
    connection: Connection[Any], organisation: str, wanted: UsageReportInput, *, grace_days: int
) -> UsageReport:
    """Queue the report and its job, in the caller's transaction. A completed final report gets no job.

    Raises:
        InvalidInput: the period cannot have a report.
        NotFound: there is no such organisation.
        QuotaExceeded: too many reports of the organisation are queued.
    """
    report = request_report(
        connection, organisation, period=wanted.period, with_pdf=wanted.format == PDF, grace_days=grace_days
    )
    if report.status == COMPLETED:
        return report
    return _with_job(connection, report)[0]


def submit_report_job(
    connection: Connection[Any],
    organisation: str,
    wanted: UsageReportInput,
    *,
    grace_days: int,
    **options: Any,
) -> Job:
    """Do the same as ``submit_report``, but return the job. A completed report gets a job, too, which then
    has nothing to make.

    Args:
        options: arguments of ``queue.submit``.
    """
    report = request_report(
        connection, organisation, period=wanted.period, with_pdf=wanted.format == PDF, grace_days=grace_days
    )
    return _with_job(connection, report, **options)[1]


def _with_job(connection: Connection[Any], report: UsageReport, **options: Any) -> tuple[UsageReport, Job]:
    """Queue a job that makes the report, unless the report has an open job. Return the report and its job."""
    if report.job is not None:
        job = get_job(connection, report.organisation, report.job)
        if not job.state.ended:
            return report, job
    job = queue.submit(
        connection, report.organisation, USAGE_REPORT, {"report": report.id}, subject=report.id, **options
    )
    return report if report.status == COMPLETED else set_job(connection, report, job.id), job
