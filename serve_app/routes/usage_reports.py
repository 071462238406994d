"""/v1/usage_reports: request, list and get usage reports, and download their files.

OpenAI's API has no such reports, so this project defines the answers. A report shows the usage of all keys of
the organisation, so the routes need the scope ``admin``.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import Query
from starlette.responses import Response

from cluster.jobs.kinds.inputs import UsageReportInput
from cluster.usage_reports.exact import plain
from cluster.usage_reports.reports import UsageReport, get_report, list_reports
from cluster.usage_reports.stored_files import read_file
from cluster.usage_reports.submitting import submit_report
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.edge.service_access import ServiceDep

router = json_router(404)

#: Media type of each format.
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "pdf": "application/pdf"}


class NewUsageReportRequest(RequestModel):
    """A usage report to make."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False, because the report would be another one if a misspelled `period` were ignored."""
        del name
        return False

    period: Text
    """The billing period: `current`, `previous`, or a day of the period, such as `2026-03-01`."""
    format: Literal["csv", "pdf"] = "pdf"
    """`pdf` for a PDF and a CSV, `csv` for a CSV only. A final report always has both."""


class UsageReportObject(ResponseModel):
    """A usage report. Times are seconds since 1970; days are dates in `time_zone`."""

    object: Literal["usage_report"] = "usage_report"
    """Always `usage_report`."""
    id: str
    """Id of the report, `report_...`."""
    period_start: str
    """First day of the billing period."""
    period_end: str
    """Last day of the billing period."""
    time_zone: str
    """IANA name of the time zone in which the days begin."""
    state: Literal["draft", "final"]
    """A `draft` may differ from the bill. A `final` report is the bill, and never changes."""
    status: Literal["queued", "completed", "failed"]
    """`queued` until the files exist, then `completed`; `failed` if the report could not be made."""
    formats: list[Literal["csv", "pdf"]]
    """Formats of the content."""
    job_id: str | None
    """Id of the job that makes the report; null if no job made it."""
    error: str | None
    """Why the report could not be made; null otherwise."""
    usage_lines: int | None
    """Number of lines about the period; null until the report is completed."""
    adjustment_lines: int | None
    """Number of lines about earlier periods, for usage that arrived after their final reports."""
    events: int | None
    """Number of usage events of all lines."""
    cost_usd: str | None
    """Cost of all lines in US dollars, as an exact decimal number."""
    csv_sha256: str | None
    """SHA-256 of the CSV, which the PDF prints."""
    pdf_sha256: str | None
    """SHA-256 of the PDF; null if the report has no PDF."""
    created_at: int
    """When the report was requested."""
    completed_at: int | None
    """When the report was completed."""

    @classmethod
    def of(cls, report: UsageReport) -> Self:
        """Convert the report into the object that answers contain."""
        return cls(
            id=report.id,
            period_start=report.period_start.isoformat(),
            period_end=report.period.last_day.isoformat(),
            time_zone=report.time_zone,
            state=report.state,
            status=report.status,
            formats=["csv", "pdf"] if report.with_pdf else ["csv"],
            job_id=report.job,
            error=report.error,
            usage_lines=report.usage_lines,
            adjustment_lines=report.adjustment_lines,
            events=report.events,
            cost_usd=None if report.cost is None else plain(report.cost),
            csv_sha256=report.csv_sha256,
            pdf_sha256=report.pdf_sha256,
            created_at=int(report.created_at.timestamp()),
            completed_at=_seconds(report.completed_at),
        )


class UsageReportList(ListObject[UsageReportObject]):
    """One page of the usage reports."""


@router.post("/v1/usage_reports", summary="Request a usage report", response_model=UsageReportObject)
async def create(
    body: NewUsageReportRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Queues a usage report and the job that makes it. If the period has a final report, this report is
    returned. If the grace period of the billing period is over, the new report is final, otherwise a draft.
    """
    wanted = UsageReportInput(period=body.period, format=body.format)
    grace_days = service.settings.usage_report_grace_days
    return await once(
        lambda connection: UsageReportObject.of(
            submit_report(connection, organisation, wanted, grace_days=grace_days)
        )
    )


@router.get("/v1/usage_reports", summary="List usage reports")
async def list_all(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    state: Annotated[
        Literal["draft", "final"] | None, Query(description="Only reports in this state")
    ] = None,
) -> UsageReportList:
    """Lists drafts and final reports one page at a time."""
    found = await service.read(lambda connection: list_reports(connection, organisation, page, state=state))
    return UsageReportList.of(found, UsageReportObject.of, lambda report: report.id)


@router.get("/v1/usage_reports/{usage_report_id}", summary="Get a usage report")
async def retrieve(
    usage_report_id: str, service: ServiceDep, organisation: Organisation
) -> UsageReportObject:
    """Shows the report, without its content."""
    return UsageReportObject.of(
        await service.read(lambda connection: get_report(connection, organisation, usage_report_id))
    )


@router.get(
    "/v1/usage_reports/{usage_report_id}/content",
    summary="Download a usage report",
    response_class=Response,
    responses={
        200: {
            "description": "The bytes of the CSV or of the PDF",
            "content": {
                name.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
                for name in MEDIA_TYPES.values()
            },
        },
        **documented_errors(409),
    },
)
async def content(
    usage_report_id: str,
    service: ServiceDep,
    organisation: Organisation,
    format: Annotated[Literal["csv", "pdf"], Query(description="`csv` or `pdf`")] = "csv",
) -> Response:
    """Returns a file of a completed report. The ETag is the SHA-256 of the bytes, which never change."""
    report = await service.read(lambda connection: get_report(connection, organisation, usage_report_id))
    data = await service.on_blobs(read_file, service.blobs, report, pdf=format == "pdf")
    name = f"usage-{organisation}-{report.period_start}-{report.state}.{format}"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "etag": f'"{report.pdf_sha256 if format == "pdf" else report.csv_sha256}"',
        "x-content-type-options": "nosniff",
    }
    return Response(data, media_type=MEDIA_TYPES[format], headers=headers)


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
