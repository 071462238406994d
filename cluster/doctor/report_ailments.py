"""Finds usage reports that have lost their files, and deletes such drafts. Final reports are bills, so they
stay, and an operator has to bring their files back from a backup.
"""

from collections.abc import Sequence

from cluster.database import translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient
from cluster.jobs.jobs import SYSTEM
from cluster.usage_reports.reports import DRAFT, delete_draft


def _reports_without_blob(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["reports"]).fetchall()
    stored = {blob.sha256 for blob in patient.blobs.list() if blob.organisation == SYSTEM}
    return [
        Case(organisation=organisation, id=id, note=state)
        for organisation, id, state, hashes in rows
        if not stored.issuperset(hashes)
    ]


def _delete_drafts(patient: Patient, cases: Sequence[Case]) -> None:
    for case in cases:
        if case.note == DRAFT:
            with translated(), patient.pool.connection() as connection:
                delete_draft(connection, case.organisation, case.id)


REPORTS = Ailment(
    name="reports_without_blob",
    says="usage reports have lost their files: bring the blobs back from a backup if there is one",
    remedy="deletes the drafts; final reports stay",
    find=_reports_without_blob,
    mend=_delete_drafts,
)
