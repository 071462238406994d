"""Files and their bytes, files and their jobs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cluster.database import translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient
from cluster.documents.attaching import Attachment, attach_many
from cluster.documents.files import delete_file, release_blob
from cluster.documents.store_files import FileStatus, get_store_file, record_status
from cluster.documents.stores import get_store
from cluster.errors import Conflict, NotFound
from cluster.jobs.jobs import JobState
from cluster.records import Outcome

#: An upload writes the blob first and the row after; so long it may take.
UPLOADING = timedelta(hours=1)
#: When more than this share of many is wrong, database and blob store do not belong together, and mending would empty one of them.
PLAUSIBLE_SHARE, MANY = 0.5, 20


def _blobs_without_row(patient: Patient) -> list[Case]:
    before = datetime.now(UTC) - UPLOADING
    there = {(blob.organisation, blob.sha256) for blob in patient.blobs.list() if blob.modified_at < before}
    with (
        translated(),
        patient.pool.connection() as connection,
    ):  # asked after the list was made: what came meanwhile has its row
        there.difference_update(connection.execute(SQL["needed_blobs"]).fetchall())
    return [Case(organisation=organisation, id=sha256) for organisation, sha256 in sorted(there)]


def _release(patient: Patient, cases: Sequence[Case]) -> None:
    for case in cases:
        with translated(), patient.pool.connection() as connection:
            release_blob(connection, patient.blobs, case.organisation, case.id)


def _other_database(patient: Patient, cases: Sequence[Case]) -> str:
    return _mismatch(len(cases), sum(1 for _ in patient.blobs.list()), "blobs have no row")


def _files_without_blob(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["files"]).fetchall()
    there = {(blob.organisation, blob.sha256) for blob in patient.blobs.list()}
    return [
        Case(organisation=organisation, id=id, facts=(sha256,))
        for organisation, id, sha256 in rows
        if (organisation, sha256) not in there
    ]


def _delete_unless_searchable(patient: Patient, cases: Sequence[Case]) -> None:
    for case in cases:
        (sha256,) = case.facts
        if patient.blobs.exists(case.organisation, sha256):
            continue
        with translated(), patient.pool.connection() as connection:
            searchable = connection.execute(
                SQL["searchable"], {"organisation": case.organisation, "file": case.id}
            ).fetchone()
            if searchable == (False,):
                delete_file(connection, case.organisation, case.id)


def _other_blob_store(patient: Patient, cases: Sequence[Case]) -> str:
    with translated(), patient.pool.connection() as connection:
        files = len(connection.execute(SQL["files"]).fetchall())
    return _mismatch(len(cases), files, "files have no blob")


def _mismatch(wrong: int, all: int, what: str) -> str:
    if wrong <= max(MANY, PLAUSIBLE_SHARE * all):
        return ""
    return f"{wrong} of {all} {what}: CLUSTER_BLOB_URL or the database is probably not the one that belongs here, so nothing was deleted"


def _adrift(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["files_in_progress_without_job"]).fetchall()
    return [
        Case(organisation=organisation, id=file, facts=(store, job, state or "", error or ""))
        for organisation, store, file, job, state, error in rows
    ]


def _settle(patient: Patient, cases: Sequence[Case]) -> None:
    """As its job ended; where that is not known, or was good, the work is done again, which changes nothing that is there."""
    for case in cases:
        store, job, state, error = case.facts
        cancelled, failed = state == JobState.CANCELLED, state == JobState.FAILED
        status = FileStatus.CANCELLED if cancelled else FileStatus.FAILED
        said = None if cancelled else error or "its job ended without saying what became of it"
        with translated(), patient.pool.connection() as connection:
            code = None if cancelled else Outcome.FAILED
            record_status(
                connection, case.organisation, store, case.id, job, status=status, error_code=code, error=said
            )
        if not (cancelled or failed):
            attach_again(patient, case.organisation, store, case.id)


def attach_again(patient: Patient, organisation: str, store_id: str, file: str) -> None:
    """A new job for a file that is attached already, in a transaction of its own; nothing where it is not attached any more."""
    with translated(), patient.pool.connection() as connection:
        try:
            store, attached = (
                get_store(connection, organisation, store_id),
                get_store_file(connection, organisation, store_id, file),
            )
            again = Attachment(
                file=file, attributes=attached.attributes, chunking_strategy=attached.chunking_strategy
            )
            attach_many(connection, store, [again], attempts=patient.settings.job_attempts)
        except (NotFound, Conflict):
            return


BLOBS = Ailment(
    name="blobs_without_row",
    says="blobs belong to no file: an upload was cut off after its bytes were written",
    remedy="deletes them",
    find=_blobs_without_row,
    mend=_release,
    doubt=_other_database,
)
FILES = Ailment(
    name="files_without_blob",
    says="files have lost their bytes: bring the blobs back from a backup if there is one",
    remedy="deletes those of them that no search can find; what is searchable stays",
    find=_files_without_blob,
    mend=_delete_unless_searchable,
    doubt=_other_blob_store,
)
ADRIFT = Ailment(
    name="files_in_progress_without_job",
    says="attached files are in progress, but their jobs have ended or are gone",
    remedy="ends them as their jobs ended, or has the work done again",
    find=_adrift,
    mend=_settle,
)
