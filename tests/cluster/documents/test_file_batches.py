"""A batch counts its own files, and is completed only where one of them is searchable."""

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import Connection

from cluster.documents.files import delete_file
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores import store_files
from cluster.documents.vector_stores.attaching import Attachment
from cluster.documents.vector_stores.file_batches import FileBatch, cancel_batch, create_batch, get_batch
from cluster.documents.vector_stores.store_files import FileStatus, get_store_file
from cluster.documents.vector_stores.store_usage import FileCounts
from cluster.documents.vector_stores.stores import VectorStore
from cluster.jobs import queue
from cluster.jobs.jobs import JobState, get_job
from tests.indexed_files import begin, end_job, fail, make_files

OTHERWISE = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
Now = Callable[[FileBatch], tuple[str, FileCounts]]


@pytest.fixture
def file(connection: Connection[Any], store: VectorStore) -> str:
    return make_files(connection, store.organisation)[0]


@pytest.fixture
def now(connection: Connection[Any], store: VectorStore) -> Now:
    """Reads the status and the counts of a batch."""

    def look(batch: FileBatch) -> tuple[str, FileCounts]:
        found = get_batch(connection, store, batch.id)
        return found.status, found.files

    return look


def of(connection: Connection[Any], store: VectorStore, *files: str, **how: Any) -> FileBatch:
    return create_batch(connection, store, [Attachment(file=file, **how) for file in files])


def job_of(connection: Connection[Any], store: VectorStore, file: str) -> str:
    return get_store_file(connection, store.organisation, store.id, file).job


def succeed(connection: Connection[Any], store: VectorStore, file: str) -> None:
    job = job_of(connection, store, file)
    begin(connection, store.organisation, job)
    store_files.record_status(
        connection, store.organisation, store.id, file, job, status=FileStatus.COMPLETED
    )
    end_job(connection, store.organisation, job, JobState.SUCCEEDED)


def counts(**some: int) -> FileCounts:
    return FileCounts(**{"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, **some})


def test_two_batches_with_the_same_files_both_count_them(
    connection: Connection[Any], store: VectorStore, now: Now
) -> None:
    files = make_files(connection, store.organisation, 2)
    one, two = of(connection, store, *files), of(connection, store, *files)
    assert now(one) == now(two) == ("in_progress", counts(in_progress=2))
    succeed(connection, store, files[0])
    assert now(one) == now(two) == ("in_progress", counts(in_progress=1, completed=1))
    fail(connection, store, files[1], "corrupt", "no")
    assert now(one) == now(two) == ("completed", counts(completed=1, failed=1))


def test_a_batch_waits_for_the_job_that_replaces_its_own(
    connection: Connection[Any], store: VectorStore, file: str, now: Now
) -> None:
    one = of(connection, store, file)
    old = job_of(connection, store, file)
    two = of(connection, store, file, chunking_strategy=OTHERWISE)
    new = job_of(connection, store, file)
    replaced = get_job(connection, store.organisation, old)
    assert (replaced.state, replaced.error_code) == (JobState.CANCELLED, "replaced")
    assert new in (replaced.error or "")
    assert now(one) == now(two) == ("in_progress", counts(in_progress=1))
    succeed(connection, store, file)
    assert now(one) == now(two) == ("completed", counts(completed=1))


def test_an_ended_batch_does_not_change_when_its_file_is_attached_again(
    connection: Connection[Any], store: VectorStore, file: str, now: Now
) -> None:
    one = of(connection, store, file)
    succeed(connection, store, file)
    two = of(connection, store, file)
    assert (now(one)[0], now(two)[0]) == ("completed", "in_progress")
    fail(connection, store, file, "worker_lost", "gone")
    assert (now(one)[0], now(two)[0]) == ("completed", "failed")


@pytest.mark.parametrize("processed", [False, True], ids=["before its end", "after its end"])
@pytest.mark.parametrize("whole", [False, True], ids=["detached", "deleted"])
def test_a_batch_whose_only_file_is_gone_is_not_completed(
    connection: Connection[Any],
    store: VectorStore,
    file: str,
    index: ChunkIndex,
    now: Now,
    processed: bool,
    whole: bool,
) -> None:
    batch = of(connection, store, file)
    index.ensure(store.collection, dim=3)
    job = job_of(connection, store, file)
    if processed:
        succeed(connection, store, file)
    if whole:
        delete_file(connection, store.organisation, file)
    else:
        store_files.detach(connection, store, file)
    assert now(batch) == ("cancelled", counts(cancelled=1))
    if not processed:
        ended = get_job(connection, store.organisation, job)
        assert (ended.error_code, file in (ended.error or "")) == ("gone", True)


def test_a_failed_batch_stays_failed_when_its_file_is_gone(
    connection: Connection[Any], store: VectorStore, file: str, index: ChunkIndex, now: Now
) -> None:
    batch = of(connection, store, file)
    index.ensure(store.collection, dim=3)
    fail(connection, store, file, "corrupt", "no")
    store_files.detach(connection, store, file)
    assert now(batch) == ("failed", counts(failed=1))


def test_cancelling_an_ended_batch_changes_nothing(
    connection: Connection[Any], store: VectorStore, file: str
) -> None:
    batch = of(connection, store, file)
    succeed(connection, store, file)
    ended = get_batch(connection, store, batch.id)
    assert cancel_batch(connection, store, batch.id) == ended
    assert (ended.status, ended.cancelled_at) == ("completed", None)


def test_cancelling_a_batch_leaves_the_files_of_another_one(
    connection: Connection[Any], store: VectorStore, now: Now
) -> None:
    both, alone = make_files(connection, store.organisation, 2)
    one, two = of(connection, store, both, alone), of(connection, store, both)
    assert cancel_batch(connection, store, one.id).status == "cancelled"
    assert now(one) == ("cancelled", counts(cancelled=2))
    assert now(two) == ("in_progress", counts(in_progress=1))
    ended = get_job(connection, store.organisation, job_of(connection, store, alone))
    assert (ended.state, one.id in (ended.error or "")) == (JobState.CANCELLED, True)
    succeed(connection, store, both)
    assert now(one) == ("cancelled", counts(cancelled=2))
    assert now(two) == ("completed", counts(completed=1))
    assert cancel_batch(connection, store, one.id).files == counts(cancelled=2)


def test_a_batch_keeps_its_counts_after_its_jobs_are_archived(
    connection: Connection[Any], store: VectorStore, file: str, now: Now
) -> None:
    batch = of(connection, store, file)
    succeed(connection, store, file)
    connection.execute("DELETE FROM jobs WHERE organisation = %s", [store.organisation])
    assert now(batch) == ("completed", counts(completed=1))


def test_a_retried_dead_letter_puts_its_batch_in_progress(
    connection: Connection[Any], store: VectorStore, file: str, now: Now
) -> None:
    batch = of(connection, store, file)
    fail(connection, store, file, "worker_lost", "gone")
    connection.execute("UPDATE jobs SET entry = 1 WHERE subject = %s", [file])
    queue.replay(connection, store.organisation, job_of(connection, store, file))
    assert now(batch) == ("in_progress", counts(in_progress=1))
    succeed(connection, store, file)
    assert now(batch) == ("completed", counts(completed=1))
