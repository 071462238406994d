"""Jobs and the queue: who runs without a lease, who waits without a turn. Workers mend these by themselves, where there are any."""

from collections.abc import Sequence

from cluster.database import translated
from cluster.doctor.ailment import Ailment, Case, Patient
from cluster.jobs.rescue import leaseless, rescue, stale_turns, turnless


def _rescue(patient: Patient, _: Sequence[Case]) -> None:
    """As the workers do, round after round until nothing is left to give back."""
    while True:
        with translated(), patient.pool.connection() as connection:
            if not rescue(connection, lease_s=patient.settings.lease_s):
                return


def _leaseless(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        return [
            Case(organisation=job.organisation, id=job.id)
            for job in leaseless(connection, lease_s=patient.settings.lease_s)
        ]


def _turnless(patient: Patient) -> list[Case]:
    """One for each turn that is missing."""
    with translated(), patient.pool.connection() as connection:
        rows = turnless(connection)
    return [
        Case(organisation=organisation, id=priority_class)
        for organisation, priority_class, missing in rows
        for _ in range(missing)
    ]


def _stale_entries(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        turns = stale_turns(connection, lease_s=patient.settings.lease_s)
    return [Case(organisation=organisation, id=str(entry)) for organisation, entry in turns]


LEASE = Ailment(
    name="jobs_without_lease",
    says="jobs are running in no living worker's hands",
    remedy="queues them again while they have attempts left, and ends them as dead letters after",
    find=_leaseless,
    mend=_rescue,
)
TURN = Ailment(
    name="jobs_without_turn",
    says="jobs are queued without an entry in the queue, so no worker will come to them",
    remedy="adds the entries",
    find=_turnless,
    mend=_rescue,
)
ENTRY = Ailment(
    name="entries_without_job",
    says="entries of the queue were taken by workers that are gone, with no job begun",
    remedy="ends them, and adds new ones where jobs wait",
    find=_stale_entries,
    mend=_rescue,
)
