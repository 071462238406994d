"""Jobs and the queue: who runs without a lease, who waits without a turn. Workers mend these by themselves, where there are any."""

from collections.abc import Sequence
from typing import Any

from cluster.database import translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient
from cluster.ledger.queue import TASK
from cluster.ledger.rescue import rescue


def _find(patient: Patient, statement: str) -> list[tuple[Any, ...]]:
    with translated(), patient.pool.connection() as connection:
        return connection.execute(SQL[statement], {"lease_s": patient.settings.lease_s, "task": TASK}).fetchall()


def _rescue(patient: Patient, _: Sequence[Case]) -> None:
    """As the workers do, round after round until nothing is left to give back."""
    while True:
        with translated(), patient.pool.connection() as connection:
            if not rescue(connection, lease_s=patient.settings.lease_s):
                return


def _cases(statement: str, patient: Patient) -> list[Case]:
    return [Case(organisation=organisation, id=id) for organisation, id in _find(patient, statement)]


def _turnless(patient: Patient) -> list[Case]:
    """One for each turn that is missing."""
    rows = _find(patient, "jobs_without_turn")
    return [Case(organisation=organisation, id=job_class) for organisation, job_class, missing in rows for _ in range(missing)]


LEASE = Ailment(
    name="jobs_without_lease",
    says="jobs are running in no living worker's hands",
    remedy="queues them again while they have attempts left, and ends them as dead letters after",
    find=lambda patient: _cases("jobs_without_lease", patient),
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
    find=lambda patient: _cases("entries_without_job", patient),
    mend=_rescue,
)
