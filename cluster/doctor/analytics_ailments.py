"""Finds roll-ups that differ from the facts, as the last nightly comparison recorded them.

To repair a difference, the windows around it are computed again and compared again
(``cluster.analytics.reconciliation``).
"""

from collections.abc import Sequence

from cluster.analytics.reconciliation import known_differences, repair
from cluster.database import translated
from cluster.doctor.ailment import Ailment, Case, Patient


def _differences(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        return [
            Case(
                organisation=organisation,
                id=f"{one.about} of the {one.grain} {one.window}",
                note=f"facts {one.facts}, roll-up {one.rollup}",
            )
            for organisation, one in known_differences(connection)
        ]


def _repair(patient: Patient, cases: Sequence[Case]) -> None:
    for organisation in sorted({case.organisation for case in cases}):
        repair(patient.pool, organisation)


ROLLUPS = Ailment(
    name="rollups_differ",
    says="roll-ups differ from the facts that they sum, so statistics or bills are wrong",
    remedy="computes these windows again",
    find=_differences,
    mend=_repair,
)
