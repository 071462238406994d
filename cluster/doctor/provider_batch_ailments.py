"""Finds batches at a provider whose answers no run collected in two days. Only a repeated ingest helps."""

from collections.abc import Sequence

from cluster.database import translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient

RUN_AGAIN = "run the same ingest with --provider-batch again, before the provider deletes the answers"


def _forgotten(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["uncollected_provider_batches"]).fetchall()
    return [
        Case(organisation=organisation, id=store, note=f"batch {provider_id or id}, {inputs:,} inputs")
        for organisation, store, id, provider_id, inputs in rows
    ]


def _leave(_: Patient, __: Sequence[Case]) -> None:
    """Change nothing, because the answers are paid for and the provider still has them."""


PROVIDER_BATCHES = Ailment(
    name="uncollected_provider_batches",
    says="batches of vector stores were submitted to a provider more than two days ago, and no run has "
    "collected the answers",
    remedy=f"changes nothing; {RUN_AGAIN}",
    find=_forgotten,
    mend=_leave,
    doubt=lambda _, __: RUN_AGAIN,
)
