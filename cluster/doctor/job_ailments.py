"""Finds and mends running jobs without a lease, queued jobs without a turn, and queue entries without a job.

A turn is a queue entry that lets a worker begin a job. Live workers also repair these ailments
(``cluster.jobs.rescue``).
"""

from collections.abc import Sequence

from cluster.database import translated
from cluster.doctor.ailment import Ailment, Case, Patient
from cluster.jobs.queue_tables import lost_jobs, missing_turns, stale_entries
from cluster.jobs.rescue import rescue


def _rescue(patient: Patient, _: Sequence[Case]) -> None:
    """Repeat the repair that workers also run, until a repetition changes nothing."""
    while True:
        with translated(), patient.pool.connection() as connection:
            if not rescue(connection, lease_s=patient.settings.lease_s):
                return


def _lost_jobs(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        return [
            Case(organisation=job.organisation, id=job.id)
            for job in lost_jobs(connection, lease_s=patient.settings.lease_s)
        ]


def _missing_turns(patient: Patient) -> list[Case]:
    """Return one case for each turn that is missing."""
    with translated(), patient.pool.connection() as connection:
        rows = missing_turns(connection)
    return [
        Case(organisation=organisation, id=priority_class)
        for organisation, priority_class, missing in rows
        for _ in range(missing)
    ]


def _stale_entries(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        entries = stale_entries(connection, lease_s=patient.settings.lease_s)
    return [
        Case(organisation=entry.organisation or "", id=str(entry.id)) for entry in entries if entry.is_turn
    ]


LEASE = Ailment(
    name="jobs_without_lease",
    says="jobs are running, and no live worker holds their lease",
    remedy="queues them again while they have attempts left, and ends them as dead letters after",
    find=_lost_jobs,
    mend=_rescue,
)
TURN = Ailment(
    name="jobs_without_turn",
    says="jobs are queued without a queue entry, so no worker will begin them",
    remedy="adds the entries",
    find=_missing_turns,
    mend=_rescue,
)
ENTRY = Ailment(
    name="entries_without_job",
    says="dead workers hold queue entries without having begun a job",
    remedy="ends them, and adds new ones where jobs are queued",
    find=_stale_entries,
    mend=_rescue,
)
