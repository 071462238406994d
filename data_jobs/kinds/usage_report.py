"""The jobs that make usage reports: one job makes a requested report, and a daily job makes all due reports.

Each report is one transaction. So a job whose worker was killed continues with the reports that are missing.
If a report of one organisation cannot be made, the job continues with the other organisations. Its result
names the organisations that failed, and the job of the next day tries again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from psycopg import Connection

from cluster.analytics.rollups import compute_days
from cluster.database import translated
from cluster.documents.files import release_blobs
from cluster.errors import LeaseLost, NotFound, Unavailable
from cluster.jobs import attempts
from cluster.jobs.jobs import GONE, SYSTEM
from cluster.jobs.kinds import USAGE_REPORT
from cluster.jobs.progress import renew_attempts
from cluster.usage_reports.making import ReportMaker
from cluster.usage_reports.reports import (
    UsageReport,
    abandoned_reports,
    delete_old_drafts,
    fail,
    get_report,
    organisations_with_reports,
)
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt, NotWanted, transaction
from data_jobs.worker.stage_errors import StageFailed

log = structlog.get_logger(__name__)

#: Maximum number of failures that the result of a job lists.
SHOWN_FAILURES = 100
ABANDONED = "the job of the report ended without a report; request the report again"


@dataclass(frozen=True)
class MakeUsageReport:
    """Runs jobs of the kind ``USAGE_REPORT``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        report = await attempt.in_transaction(partial(self._look_up, attempt))
        try:
            made = await attempt.stage(
                "report",
                partial(attempt.in_thread, partial(self._make, attempt, report)),
                tries=attempt.settings.index_attempts,
            )
        except StageFailed as exc:
            reason = str(exc)
            await attempt.in_transaction(lambda connection: fail(connection, report, reason))
            raise
        await attempt.in_transaction(
            lambda connection: attempts.finish(connection, attempt.job, result=_result(made))
        )

    def _look_up(self, attempt: JobAttempt, connection: Connection[Any]) -> UsageReport:
        try:
            return get_report(connection, attempt.job.organisation, attempt.job.input["report"])
        except NotFound as exc:
            raise NotWanted(str(exc), GONE) from exc

    def _make(self, attempt: JobAttempt, report: UsageReport) -> UsageReport:
        return _maker(attempt, self.resources).make_requested(report, datetime.now(UTC))


@dataclass
class _DueReports:
    """Counts what a job for all organisations has done so far."""

    organisations: int = 0
    reports: int = 0
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class MakeUsageReports:
    """Runs jobs of the kind ``USAGE_REPORTS``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        tries = attempt.settings.index_attempts
        counts = await attempt.stage("reports", partial(self._make_all, attempt), tries=tries)
        deleted = await attempt.stage(
            "clean", partial(attempt.in_thread, partial(self._clean, attempt)), tries=tries
        )
        result = {
            "organisations": counts.organisations,
            "reports": counts.reports,
            "failed": counts.failed,
            "failures": counts.failures,
            "deleted_drafts": deleted,
        }
        await attempt.in_transaction(
            lambda connection: attempts.finish(connection, attempt.job, result=result)
        )

    async def _make_all(self, attempt: JobAttempt) -> _DueReports:
        counts = _DueReports()
        organisations = await attempt.in_transaction(organisations_with_reports)
        for organisation in organisations:
            await attempt.in_thread(partial(self._make_of, attempt, organisation, counts))
            counts.organisations += 1
            attempt.goes_on()
            await attempt.progress(counts.organisations, len(organisations), unit="organisations")
        return counts

    def _make_of(self, attempt: JobAttempt, organisation: str, counts: _DueReports) -> None:
        """Make the due reports of one organisation. An error is counted, unless it concerns all
        organisations.
        """
        maker = _maker(attempt, self.resources)
        try:
            for _ in maker.make_due(organisation, datetime.now(UTC)):
                counts.reports += 1
                with maker.opener() as connection:
                    renew_attempts(connection, attempt.job)
        except (LeaseLost, Unavailable):
            raise
        except Exception as exc:
            log.exception("usage_report_failed", organisation=organisation)
            counts.failed += 1
            if len(counts.failures) < SHOWN_FAILURES:
                counts.failures.append(
                    {"organisation": organisation, "error": f"{type(exc).__name__}: {exc}"}
                )

    def _clean(self, attempt: JobAttempt) -> int:
        """Record the failure of reports whose jobs ended without them, and delete old drafts."""
        with _held_transaction(attempt) as connection:
            for report in abandoned_reports(connection):
                fail(connection, report, ABANDONED)
            hashes, deleted = delete_old_drafts(connection, days=attempt.settings.usage_report_draft_days)
        with translated(), attempt.pool.connection() as connection:
            release_blobs(connection, self.resources.blobs, SYSTEM, hashes)
        return deleted


def _maker(attempt: JobAttempt, resources: Resources) -> ReportMaker:
    return ReportMaker(
        opener=partial(_held_transaction, attempt),
        blobs=resources.blobs,
        roll_up=partial(compute_days, attempt.pool),
        grace_days=attempt.settings.usage_report_grace_days,
    )


@contextmanager
def _held_transaction(attempt: JobAttempt) -> Iterator[Connection[Any]]:
    """Open a transaction that fails if the attempt is no longer the current one."""
    with transaction(attempt.pool, lease_s=attempt.settings.lease_s) as connection:
        attempts.hold(connection, attempt.job)
        yield connection


def _result(report: UsageReport) -> dict[str, Any]:
    """Return the result of the job. It has no amounts, because keys without the scope ``admin`` read it."""
    values = {
        "report": report.id,
        "state": report.state,
        "usage_lines": report.usage_lines,
        "adjustment_lines": report.adjustment_lines,
        "csv_sha256": report.csv_sha256,
        "pdf_sha256": report.pdf_sha256,
    }
    return {name: values[name] for name in USAGE_REPORT.result}
