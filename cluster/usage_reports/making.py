"""Make reports: read the roll-ups, write the files, and record them.

The files are written before the transaction that records their hashes. So if a process is killed, at most
blobs without a row remain, which ``cluster.doctor`` finds, and the next attempt makes the same report. All
blobs belong to the organisation ``system``, because a bill is kept when its organisation is deleted.

    maker = ReportMaker(opener=opener, blobs=blobs, roll_up=roll_up, grace_days=3)
    for report in maker.make_due("acme", datetime.now(UTC)): ...
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from cluster.blobs import Blob, BlobStore
from cluster.documents.files import require_blob
from cluster.errors import Conflict, Unavailable
from cluster.jobs.jobs import SYSTEM
from cluster.usage_reports.content import ReportContent
from cluster.usage_reports.csv_file import csv_of
from cluster.usage_reports.lines import read_content
from cluster.usage_reports.pdf_file import pdf_of
from cluster.usage_reports.reports import (
    COMPLETED,
    FINAL,
    UsageReport,
    complete,
    fail,
    get_calendar,
    get_report,
    lock_reports,
)
from cluster.usage_reports.requests import queue_draft, queue_final

#: Opens a transaction, for a ``with`` block.
Opener = Callable[[], AbstractContextManager[Connection[Any]]]
#: Maximum number of characters of an error that a report stores.
MAX_ERROR = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportMaker:
    """Makes reports with the database and the blob store of one process."""

    #: Opens a transaction, for a ``with`` block.
    opener: Opener
    blobs: BlobStore
    #: Computes the daily roll-ups of an organisation, before its reports are made.
    roll_up: Callable[[str], object]
    #: The setting ``CLUSTER_USAGE_REPORT_GRACE_DAYS``.
    grace_days: int

    def make_due(self, organisation: str, now: datetime) -> Iterator[UsageReport]:
        """Make every final report that the organisation lacks, the earliest first. Also make a draft of each
        period that has ended and is in its grace period. Yield each report that was not completed before,
        when it is made.

        If a report cannot be made, the error is recorded in the report and raised.

        Raises:
            NotFound: there is no such organisation.
            Unavailable: the database or the blob store does not answer. This error is not recorded.
        """
        with self.opener() as connection:
            calendar = get_calendar(connection, organisation)
        if next(calendar.without_final(now), None) is None:
            return
        self.roll_up(organisation)
        with self.opener() as connection:
            calendar = get_calendar(connection, organisation)  # read again, because roll-ups can change it
        finals = list(calendar.without_final(now, grace_days=self.grace_days))
        drafts = [period for period in calendar.without_final(now) if period not in finals]
        for queue, periods in ((queue_final, finals), (queue_draft, drafts)):
            for period in periods:
                with self.opener() as connection:
                    report = queue(connection, organisation, period, calendar.time_zone)
                if report.status != COMPLETED:
                    yield self._made_or_failed(report)

    def make_requested(self, report: UsageReport, now: datetime) -> UsageReport:
        """Make the report that a caller requested, and return it. Before a final report, make the final
        reports of earlier periods, because each final report begins where the previous one ended.

        Raises:
            Conflict: the period of a final report does not begin where the last final report ended.
            Unavailable: the database or the blob store does not answer.
        """
        if report.status == COMPLETED:
            return report
        if report.state != FINAL:
            self.roll_up(report.organisation)
            return self._make(report)
        for made in self.make_due(report.organisation, now):
            if made.id == report.id:
                return made
        with self.opener() as connection:
            report = get_report(connection, report.organisation, report.id)
        return self._make(report)

    def _make(self, report: UsageReport) -> UsageReport:
        if report.status == COMPLETED:
            return report
        final = report.state == FINAL
        with self.opener() as connection:
            content = read_content(connection, report.organisation, report.period, final=final)
        csv = self._store(csv_of(content))
        pdf = self._store(pdf_of(content, csv_sha256=csv.sha256)) if report.with_pdf else None
        with self.opener() as connection:
            return _complete(connection, self.blobs, report, content, csv, pdf)

    def _made_or_failed(self, report: UsageReport) -> UsageReport:
        try:
            return self._make(report)
        except Unavailable:
            raise  # nothing can be recorded without the database; the next attempt makes the report
        except Exception as exc:
            with self.opener() as connection:
                fail(connection, report, f"{type(exc).__name__}: {exc}"[:MAX_ERROR])
            raise

    def _store(self, data: bytes) -> Blob:
        with self.blobs.writer(SYSTEM) as writer:
            writer.write(data)
            return writer.commit()


def _complete(
    connection: Connection[Any],
    blobs: BlobStore,
    report: UsageReport,
    content: ReportContent,
    csv: Blob,
    pdf: Blob | None,
) -> UsageReport:
    lock_reports(connection, report.organisation)
    if report.state == FINAL:
        covered_until = get_calendar(connection, report.organisation).covered_until
        if covered_until not in {None, report.period_start}:
            current = get_report(connection, report.organisation, report.id)
            if current.status == COMPLETED:
                return current
            raise Conflict(
                f"usage report {report.id} begins on {report.period_start}, but the last final report of "
                f"organisation {report.organisation!r} ends before {covered_until}; request the report again"
            )
    for sha256 in sorted({csv.sha256, *(() if pdf is None else (pdf.sha256,))}):
        if not require_blob(connection, blobs, SYSTEM, sha256):
            raise Unavailable(f"blob {sha256} of a usage report was deleted meanwhile", retry_after_s=1)
    completed = complete(connection, report, content, csv, pdf)
    return completed or get_report(connection, report.organisation, report.id)
