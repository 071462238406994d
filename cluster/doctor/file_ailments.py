"""Finds and mends contradictions between files and blobs, and between attached files and their jobs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cluster.database import translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient
from cluster.documents.files import delete_file, release_blob
from cluster.documents.vector_stores.attaching import attach_many, like
from cluster.documents.vector_stores.store_files import FileStatus, get_store_file, record_status
from cluster.documents.vector_stores.stores import get_store
from cluster.errors import Conflict, NotFound
from cluster.jobs.jobs import JobState
from cluster.records import Outcome

#: Maximum age of a blob without a row that counts as an upload in progress. An upload writes the blob before
#: the row.
UPLOAD_TIME = timedelta(hours=1)
#: If the cases exceed both this number and this share of all files or blobs, the database and the blob store
#: probably belong to different clusters. A repair would then delete the contents of one of the two.
MOST_CASES, MOST_SHARE = 20, 0.5


def _blobs_without_row(patient: Patient) -> list[Case]:
    before = datetime.now(UTC) - UPLOAD_TIME
    unneeded = {
        (blob.organisation, blob.sha256) for blob in patient.blobs.list() if blob.modified_at < before
    }
    # Read the rows after the blobs are listed. Then every listed blob of a finished upload has its row.
    with translated(), patient.pool.connection() as connection:
        unneeded.difference_update(connection.execute(SQL["needed_blobs"]).fetchall())
    return [Case(organisation=organisation, id=sha256) for organisation, sha256 in sorted(unneeded)]


def _release(patient: Patient, cases: Sequence[Case]) -> None:
    for case in cases:
        with translated(), patient.pool.connection() as connection:
            release_blob(connection, patient.blobs, case.organisation, case.id)


def _other_database(patient: Patient, cases: Sequence[Case]) -> str:
    return _mismatch(len(cases), sum(1 for _ in patient.blobs.list()), "blobs have no row")


def _files_without_blob(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["files"]).fetchall()
    stored = {(blob.organisation, blob.sha256) for blob in patient.blobs.list()}
    return [
        Case(organisation=organisation, id=id, facts=(sha256,))
        for organisation, id, sha256 in rows
        if (organisation, sha256) not in stored
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


def _mismatch(cases: int, total: int, problem: str) -> str:
    if cases <= max(MOST_CASES, MOST_SHARE * total):
        return ""
    return (
        f"{cases} of {total} {problem}: CLUSTER_BLOB_URL and the database probably belong to different "
        "clusters, so nothing was deleted"
    )


def _files_in_progress_without_job(patient: Patient) -> list[Case]:
    with translated(), patient.pool.connection() as connection:
        rows = connection.execute(SQL["files_in_progress_without_job"]).fetchall()
    return [
        Case(organisation=organisation, id=file, facts=(store, job, state or "", error or ""))
        for organisation, store, file, job, state, error in rows
    ]


def _settle(patient: Patient, cases: Sequence[Case]) -> None:
    """Give each file the status of its failed or cancelled job. Index all other files again."""
    for case in cases:
        store, job, state, error = case.facts
        cancelled, failed = state == JobState.CANCELLED, state == JobState.FAILED
        status = FileStatus.CANCELLED if cancelled else FileStatus.FAILED
        message = None if cancelled else error or "its job ended without a recorded result"
        with translated(), patient.pool.connection() as connection:
            code = None if cancelled else Outcome.FAILED
            record_status(
                connection,
                case.organisation,
                store,
                case.id,
                job,
                status=status,
                error_code=code,
                error=message,
            )
        if not (cancelled or failed):
            attach_again(patient, case.organisation, store, case.id)


def attach_again(patient: Patient, organisation: str, store_id: str, file: str) -> None:
    """Submit a new job for an attached file, in a separate transaction.

    Do nothing if the store or the attached file is gone, or if the store has expired.
    """
    with translated(), patient.pool.connection() as connection:
        try:
            store, attached = (
                get_store(connection, organisation, store_id),
                get_store_file(connection, organisation, store_id, file),
            )
            attach_many(
                connection, store, [like(attached, file=file)], attempts=patient.settings.job_attempts
            )
        except (NotFound, Conflict):
            return


BLOBS = Ailment(
    name="blobs_without_row",
    says="blobs belong to no file: an upload was interrupted after its bytes were written",
    remedy="deletes them",
    find=_blobs_without_row,
    mend=_release,
    doubt=_other_database,
)
FILES = Ailment(
    name="files_without_blob",
    says="files have lost their bytes: bring the blobs back from a backup if there is one",
    remedy="deletes the files that no search can find; searchable files stay",
    find=_files_without_blob,
    mend=_delete_unless_searchable,
    doubt=_other_blob_store,
)
FILES_IN_PROGRESS = Ailment(
    name="files_in_progress_without_job",
    says="attached files are in progress, but their jobs have ended or are gone",
    remedy="gives them the status of their jobs, or indexes them again",
    find=_files_in_progress_without_job,
    mend=_settle,
)
