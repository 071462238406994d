"""GET /v1/doctor examines the parts and the data of the cluster, as ``make doctor`` does. It repairs nothing.

An examination reads much of the database, so a replica runs only one examination at a time, and uses its
result for several requests.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Literal, Self, cast

from fastapi import Depends, Query, Request

from cluster.doctor import Finding, HealthReport, PartCheck, examine
from cluster.settings import Settings
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.json_route import json_router
from serve_app.edge.response_model import ResponseModel

#: Maximum age in seconds of a result that is returned again: for usual requests, and for requests with
#: ``fresh``.
KEPT_S, FRESH_S = 60.0, 5.0

router = json_router()


class DoctorPart(ResponseModel):
    """The check of one part of the cluster."""

    name: str
    """Name of the part, such as `database`."""
    fine: bool
    """True if the part works."""
    says: str
    """State of the part, as a sentence."""
    remedy: str
    """What to do; empty if the part works."""

    @classmethod
    def of(cls, part: PartCheck) -> Self:
        """Convert the check into the object that answers contain."""
        return cls(name=part.name, fine=part.fine, says=part.says, remedy=part.remedy)


class DoctorFinding(ResponseModel):
    """A contradiction in the data."""

    name: str
    """Name of the finding, such as `jobs_without_lease`."""
    count: int
    """Number of cases."""
    examples: list[str]
    """Some of the cases, each as `organisation/id`."""
    says: str
    """What is wrong, as a sentence."""
    remedy: str
    """What `make doctor ARGS=--mend` does about the finding, or what the operator must do."""

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Convert the finding into the object that answers contain."""
        return cls(
            name=finding.name,
            count=finding.count,
            examples=list(finding.examples),
            says=finding.says,
            remedy=finding.remedy,
        )


class DoctorReport(ResponseModel):
    """The result of an examination. Times are seconds since 1970."""

    object: Literal["doctor.report"] = "doctor.report"
    """Always `doctor.report`."""
    healthy: bool
    """True if every part works and there is no finding."""
    examined_at: float
    """Time at which the examination ended."""
    seconds: float
    """Duration of the examination."""
    parts: list[DoctorPart]
    """The parts of the cluster."""
    findings: list[DoctorFinding]
    """What is wrong in the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Examined:
    report: HealthReport
    at: float
    seconds: float


class Examinations:
    """Examines the cluster for all requests of a replica, one examination at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._last: _Examined | None = None
        self._running: asyncio.Task[_Examined] | None = None

    async def report(self, *, fresh: bool) -> DoctorReport:
        """Return the last result, or the result of a new examination if the last result is too old.

        Args:
            fresh: True if the result may be at most ``FRESH_S`` seconds old; False if it may be ``KEPT_S``
                seconds old.
        """
        last = self._last
        if last is None or time.time() - last.at > (FRESH_S if fresh else KEPT_S):
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._examine())
            # If this request is cancelled, the examination continues, and the next request uses the result.
            last = await asyncio.shield(self._running)
        return DoctorReport(
            healthy=last.report.healthy,
            examined_at=round(last.at, 3),
            seconds=round(last.seconds, 3),
            parts=[DoctorPart.of(part) for part in last.report.parts],
            findings=[DoctorFinding.of(finding) for finding in last.report.findings],
        )

    async def _examine(self) -> _Examined:
        began = time.monotonic()
        report = await asyncio.to_thread(examine, self._settings, mend=False)
        self._last = _Examined(report=report, at=time.time(), seconds=time.monotonic() - began)
        return self._last


async def _examinations(request: Request) -> Examinations:
    return cast(Examinations, request.app.state.examinations)


@router.get("/v1/doctor", summary="Examine the cluster", responses=documented_errors(403))
async def get_doctor(
    examinations: Annotated[Examinations, Depends(_examinations)],
    fresh: Annotated[
        bool, Query(description="True to examine again; otherwise the last result may be a minute old")
    ] = False,
) -> DoctorReport:
    """Examines every part of the cluster and looks for contradictions in the data. Nothing is repaired. To
    repair the data, use `make doctor ARGS=--mend`."""
    return await examinations.report(fresh=fresh)
