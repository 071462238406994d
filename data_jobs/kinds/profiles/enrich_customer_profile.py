"""The job that computes profiles: of one customer, of the members of a segment, or of all customers.

The job computes one part after the other (``parts.PARTS``), each as a stage of its own. A part that an
earlier attempt has completed is not computed again.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.errors import NotFound
from cluster.jobs import attempts
from cluster.jobs.file_rows.row_progress import forget_progress, get_progress, save_progress
from cluster.jobs.jobs import GONE
from cluster.profiles.segments import get_segment
from cluster.profiles.selection import (
    Selection,
    delete_profiles_without_consent,
    require_profile_allowed,
)
from data_jobs.kinds.profiles.parts import PARTS
from data_jobs.kinds.profiles.profile_part import PartCounts, ProfilePart
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt, NotWanted

#: Key of the counts of completed parts in the saved progress of the job.
DONE = "done"
#: Error code of a job for a customer who refuses to be profiled, or has not agreed if consent is needed.
NO_CONSENT = "no_consent"


@dataclass(frozen=True)
class EnrichCustomerProfile:
    """Runs jobs of the kind ``ENRICH_CUSTOMER_PROFILE``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        selection, deleted = await attempt.stage(
            "select", partial(attempt.in_transaction, partial(_select, attempt)), tries=1
        )
        for part in (make(self.resources) for make in PARTS):
            await attempt.stage(part.name, partial(_once, attempt, selection, part))
        await attempt.in_transaction(partial(_finish, attempt, deleted))


def _select(attempt: JobAttempt, connection: Connection[Any]) -> tuple[Selection, int]:
    """Return the selection, delete the profiles of customers who are not allowed to have one, and return the
    number of deleted profiles.

    Raises:
        NotWanted: the customer or the segment does not exist, or the customer may not be profiled.
    """
    job = attempts.hold(connection, attempt.job)
    segment, customer = job.input.get("segment_id"), job.input.get("customer_id")
    try:
        selection = Selection(
            organisation=job.organisation,
            as_of=job.created_at,
            customer=customer,
            segment=None if segment is None else get_segment(connection, job.organisation, segment).filter,
            need_consent=attempt.settings.profiles_need_consent,
        )
        allowed = customer is None or require_profile_allowed(connection, selection)
    except NotFound as exc:
        raise NotWanted(str(exc), GONE) from exc
    if not allowed:
        raise NotWanted(f"customer {customer!r} has not agreed to a profile", NO_CONSENT)
    return selection, delete_profiles_without_consent(connection, selection)


async def _once(attempt: JobAttempt, selection: Selection, part: ProfilePart) -> None:
    """Compute the part, unless an earlier attempt at the job has completed it."""
    if part.name in await attempt.in_transaction(partial(_completed, attempt)):
        return
    counts = await part.enrich(attempt, selection)
    await attempt.in_transaction(partial(_complete, attempt, part.name, counts))


def _completed(attempt: JobAttempt, connection: Connection[Any]) -> dict[str, PartCounts]:
    _, state = get_progress(connection, attempt.job.organisation, attempt.job.id)
    return dict(state.get(DONE, {}))


def _complete(attempt: JobAttempt, part: str, counts: PartCounts, connection: Connection[Any]) -> None:
    job = attempts.hold(connection, attempt.job)
    position, state = get_progress(connection, job.organisation, job.id)
    save_progress(connection, job, position, {**state, DONE: {**state.get(DONE, {}), part: counts}}, [])


def _finish(attempt: JobAttempt, deleted: int, connection: Connection[Any]) -> None:
    parts = _completed(attempt, connection)
    forget_progress(connection, attempt.job.organisation, attempt.job.id)
    attempts.finish(connection, attempt.job, result={"parts": parts, "deleted": deleted})
