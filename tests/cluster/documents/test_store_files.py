"""A file is attached once, its status follows its job, and a job that is no longer wanted writes nothing."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database.paging import PageRequest
from cluster.documents import documents
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores import attaching, file_batches, store_files
from cluster.documents.vector_stores.attaching import Attachment
from cluster.documents.vector_stores.store_files import FileStatus, StoreFile
from cluster.documents.vector_stores.store_upkeep import delete_store_rows, expire_stores
from cluster.documents.vector_stores.store_usage import FileCounts, StoreUsage, usage_of
from cluster.documents.vector_stores.stores import (
    VectorStore,
    delete_store,
    ensure_store,
    find_store,
    get_store,
)
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.jobs import jobs, queue
from cluster.jobs.jobs import JobState, PriorityClass
from tests.cluster.jobs.turns import jobs_of
from tests.indexed_files import begin, end_job, fail, make_files, process
from tests.waiting import LONGEST_WAIT_S, Stopwatch

STATIC = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}


@pytest.fixture
def store(store: VectorStore, index: ChunkIndex) -> VectorStore:
    index.ensure(store.collection, dim=store.fingerprint.dim)
    return store


@pytest.fixture
def get(connection: Connection[Any], store: VectorStore) -> Callable[[str], StoreFile]:
    return lambda file: store_files.get_store_file(connection, store.organisation, store.id, file)


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.ones((len(texts), 3), np.float32)


def texts(index: ChunkIndex, store: VectorStore) -> list[str]:
    return sorted(row.text for row in index.scan(store.organisation, store.id, collection=store.collection))


def test_attaching_submits_a_job_and_its_end_is_that_of_the_file(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex, get: Callable[[str], StoreFile]
) -> None:
    (file,) = make_files(connection, store.organisation)
    attached = attaching.attach(
        connection, store, file, attributes={"year": 2020}, priority_class=PriorityClass.HIGH, priority=9
    )
    job = jobs.get_job(connection, store.organisation, attached.job)
    assert (job.kind, job.input, job.subject) == (
        "index_file",
        {"vector_store": store.id, "file": file},
        file,
    )
    assert (job.state, job.priority_class, job.priority) == (JobState.QUEUED, PriorityClass.HIGH, 9)
    assert (attached.status, attached.attributes, attached.job_state) == (
        FileStatus.IN_PROGRESS,
        {"year": 2020},
        JobState.QUEUED,
    )
    assert process(connection, index, store, file, ["one", "two"], embed=embed)
    done = get(file)
    assert (done.status, done.usage_bytes, done.pages, done.chunks) == (FileStatus.COMPLETED, 6, 2, 2)
    assert usage_of(connection, store.organisation, [store.id])[store.id] == StoreUsage(
        files=FileCounts(completed=1), bytes=6
    )
    assert [
        row.attributes["year"]
        for row in index.scan(store.organisation, store.id, collection=store.collection)
    ] == [2020, 2020]


def test_attaching_and_its_job_are_one_transaction(connection: Connection[Any], store: VectorStore) -> None:
    (file,) = make_files(connection, store.organisation)
    with connection.transaction(force_rollback=True):
        attaching.attach(connection, store, file)
    assert jobs_of(connection, store.organisation) == []
    with pytest.raises(NotFound, match=file):
        store_files.get_store_file(connection, store.organisation, store.id, file)


def test_the_error_names_a_missing_file_and_nothing_is_attached(
    connection: Connection[Any], store: VectorStore
) -> None:
    (file,) = make_files(connection, store.organisation)
    (gone,) = make_files(connection, store.organisation)
    connection.execute("UPDATE files SET expires_at = now() WHERE id = %s", [gone])
    for missing in ("file-none", gone):
        with pytest.raises(NotFound, match=missing):
            attaching.attach_many(connection, store, [Attachment(file=file), Attachment(file=missing)])
    assert jobs_of(connection, store.organisation) == []


def test_attaching_again_keeps_an_open_job_and_replaces_an_ended_one(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex, get: Callable[[str], StoreFile]
) -> None:
    (file,) = make_files(connection, store.organisation)
    first = attaching.attach(connection, store, file)
    again = attaching.attach(connection, store, file, attributes={"a": 1})
    assert (again.job, again.attributes, again.created_at) == (first.job, {"a": 1}, first.created_at)
    otherwise = attaching.attach(connection, store, file, chunking_strategy=STATIC)
    assert otherwise.job != first.job
    assert jobs.get_job(connection, store.organisation, first.job).state == JobState.CANCELLED
    assert get(file).status == FileStatus.IN_PROGRESS
    process(connection, index, store, file, ["one"], embed=embed)
    anew = attaching.attach(connection, store, file)
    assert anew.job != otherwise.job
    assert anew.status == FileStatus.IN_PROGRESS
    assert texts(index, store) == ["one"]  # searchable until the new version is


def test_a_job_with_a_requested_cancellation_is_replaced(
    connection: Connection[Any], store: VectorStore, get: Callable[[str], StoreFile]
) -> None:
    (file,) = make_files(connection, store.organisation)
    first = attaching.attach(connection, store, file)
    begin(connection, store.organisation, first.job)
    queue.cancel(connection, store.organisation, first.job)
    assert get(file).status == FileStatus.IN_PROGRESS
    second = attaching.attach(connection, store, file)
    assert second.job != first.job
    end_job(connection, store.organisation, first.job, JobState.CANCELLED)
    assert get(file).status == FileStatus.IN_PROGRESS


@pytest.mark.parametrize("before", [0, 10, 20])
def test_a_file_attached_by_concurrent_callers_has_one_job(
    pool: ConnectionPool, connection: Connection[Any], store: VectorStore, before: int
) -> None:
    files = make_files(connection, store.organisation, 20)
    for file in files[:before]:  # attached before, and its job ended
        queue.cancel(connection, store.organisation, attaching.attach(connection, store, file).job)
    barrier = threading.Barrier(6)
    problems: list[Exception] = []

    def attach(turn: int) -> None:
        barrier.wait()
        try:
            with pool.connection() as own:
                attaching.attach_many(
                    own, store, [Attachment(file=file) for file in (files if turn % 2 else files[::-1])]
                )
        except Exception as exc:  # noqa: BLE001  the test reports any error
            problems.append(exc)

    threads = [threading.Thread(target=attach, args=[turn]) for turn in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    listed = store_files.list_store_files(connection, store, PageRequest(limit=100)).items
    open = {job.id for job in jobs_of(connection, store.organisation) if job.state == JobState.QUEUED}
    assert {attached.job for attached in listed} == open
    assert len(open) == 20


@pytest.mark.parametrize(
    "how", ["detached", "attached again", "store deleted", "store gone", "store expired"]
)
def test_a_job_that_is_no_longer_wanted_writes_nothing(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex, how: str
) -> None:
    (file,) = make_files(connection, store.organisation)
    job = attaching.attach(connection, store, file).job
    begin(connection, store.organisation, job)
    if how == "detached":
        store_files.detach(connection, store, file)
    elif how == "attached again":
        attaching.attach(connection, store, file, chunking_strategy=STATIC)
    elif how == "store expired":
        expire(connection, store)
    else:
        delete_store(connection, store.organisation, store.id)
        while how == "store gone" and delete_store_rows(connection, store.organisation, store.id):
            pass
    assert process(connection, index, store, file, ["too late"], embed=embed, job=job) is False
    assert texts(index, store) == []


def test_a_failed_job_leaves_its_reason_and_the_earlier_chunks_and_can_be_retried(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex, get: Callable[[str], StoreFile]
) -> None:
    (file,) = make_files(connection, store.organisation)
    attaching.attach(connection, store, file)
    process(connection, index, store, file, ["first"], embed=embed)
    job = attaching.attach(connection, store, file).job
    fail(connection, store, file, "corrupt", "the file ends in the middle")
    failed = get(file)
    assert (failed.status, failed.error_code, failed.error) == (
        FileStatus.FAILED,
        "corrupt",
        "the file ends in the middle",
    )
    assert (failed.usage_bytes, texts(index, store)) == (5, ["first"])
    queue.replay(connection, store.organisation, job)
    again = get(file)
    assert (again.status, again.error_code, again.error) == (FileStatus.IN_PROGRESS, None, None)
    process(connection, index, store, file, ["second"], embed=embed)
    assert (get(file).status, texts(index, store)) == (FileStatus.COMPLETED, ["second"])


@pytest.mark.parametrize(
    ("state", "status"), [(JobState.FAILED, FileStatus.FAILED), (JobState.CANCELLED, FileStatus.CANCELLED)]
)
def test_a_file_is_in_progress_only_while_its_job_is_open(
    connection: Connection[Any],
    store: VectorStore,
    get: Callable[[str], StoreFile],
    state: JobState,
    status: FileStatus,
) -> None:
    (file,) = make_files(connection, store.organisation)
    job = attaching.attach(connection, store, file).job
    begin(connection, store.organisation, job)
    end_job(connection, store.organisation, job, state, error="its worker died three times")
    attached = get(file)
    assert attached.status == status
    assert attached.error_code == ("unavailable" if state == JobState.FAILED else None)


def test_the_end_of_a_replaced_job_changes_nothing(
    connection: Connection[Any], store: VectorStore, get: Callable[[str], StoreFile]
) -> None:
    (file,) = make_files(connection, store.organisation)
    before = attaching.attach(connection, store, file)
    key = (store.organisation, store.id, file)
    assert (
        store_files.record_status(connection, *key, "job_other", status=FileStatus.COMPLETED, usage_bytes=1)
        is False
    )
    assert get(file) == before
    assert store_files.hold(connection, *key, "job_other") is None


def test_new_attributes_reach_the_chunks_and_removed_ones_uncover_ours(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex, get: Callable[[str], StoreFile]
) -> None:
    (file,) = make_files(connection, store.organisation)
    attaching.attach(connection, store, file, attributes={"page": "front", "year": 2020})
    process(connection, index, store, file, ["one"], embed=embed)

    def search(key: str, value: Any) -> int:
        filter = {"type": "eq", "key": key, "value": value}
        return len(
            index.search(store.organisation, store.id, collection=store.collection, text="one", filter=filter)
        )

    assert (search("page", "front"), search("page", 1), search("year", 2020), search("file_id", file)) == (
        1,
        0,
        1,
        1,
    )
    store_files.update_attributes(connection, store, file, {"year": 2021})
    assert get(file).attributes == {"year": 2021}
    assert (search("page", "front"), search("page", 1), search("year", 2020), search("year", 2021)) == (
        0,
        1,
        0,
        1,
    )


def test_attributes_changed_while_a_worker_writes_are_not_lost(
    connection: Connection[Any], pool: ConnectionPool, store: VectorStore, index: ChunkIndex
) -> None:
    (file,) = make_files(connection, store.organisation)
    attaching.attach(connection, store, file, attributes={"a": "old"})
    held, go = threading.Event(), threading.Event()

    def slow(texts: Sequence[str]) -> NDArray[np.float32]:
        held.set()
        go.wait(LONGEST_WAIT_S)
        return embed(texts)

    def work() -> None:
        with pool.connection() as own:
            own.autocommit = True
            process(own, index, store, file, ["one"], embed=slow)
            own.autocommit = False

    worker = threading.Thread(target=work)
    worker.start()
    held.wait(LONGEST_WAIT_S)
    threading.Timer(0.2, go.set).start()
    store_files.update_attributes(connection, store, file, {"a": "new"})
    worker.join()
    (row,) = index.scan(store.organisation, store.id, collection=store.collection)
    assert row.attributes["a"] == "new"


def test_a_detached_file_leaves_nothing_in_the_store_and_still_exists(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex
) -> None:
    kept, file = make_files(connection, store.organisation, 2)
    for one in (kept, file):
        attaching.attach(connection, store, one)
        process(connection, index, store, one, [one], embed=embed)
    again = attaching.attach(connection, store, file)
    document = again.document
    store_files.detach(connection, store, file)
    assert texts(index, store) == [kept]
    assert documents.known_documents(connection, store.organisation, store.id, [document]) == {}
    assert jobs.get_job(connection, store.organisation, again.job).state == JobState.CANCELLED
    with pytest.raises(NotFound):
        store_files.detach(connection, store, file)
    attaching.attach(connection, store, file)


def test_a_deleted_file_is_detached_from_every_store(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex
) -> None:
    other = ensure_store(connection, store.organisation, "other", fingerprint=store.fingerprint)
    (file,) = make_files(connection, store.organisation)
    for one in (store, other):
        attaching.attach(connection, one, file)
        process(connection, index, one, file, [one.name], embed=embed)
    assert store_files.detach_everywhere(connection, store.organisation, file) == 2
    assert texts(index, store) == texts(index, other) == []
    connection.execute("DELETE FROM files WHERE id = %s", [file])


def test_two_thousand_files_are_a_batch_in_about_a_second(
    connection: Connection[Any], store: VectorStore
) -> None:
    files = make_files(connection, store.organisation, 2_100)
    start = time.monotonic()
    for file in files[2_000:]:
        attaching.attach(connection, store, file)
    alone = (time.monotonic() - start) / 100
    files = files[:2_000]
    began = Stopwatch()
    batch = file_batches.create_batch(
        connection, store, [Attachment(file=file, attributes={"n": 1}) for file in files]
    )
    took, each = began.seconds(), (time.monotonic() - began.began) / 2_000
    assert (batch.status, batch.files) == (FileStatus.IN_PROGRESS, FileCounts(in_progress=2_000))
    assert took < 10, f"{took:.2f} s"  # 1.3 s on two idle cores
    assert each < alone / 2, f"{each:.5f} s each, {alone:.5f} s alone"
    cancelled = file_batches.cancel_batch(connection, store, batch.id)
    assert (cancelled.status, cancelled.files) == (FileStatus.CANCELLED, FileCounts(cancelled=2_000))


def test_a_batch_counts_its_files_and_ends_with_the_last_one(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex
) -> None:
    good, bad, running, queued = make_files(connection, store.organisation, 4)
    batch = file_batches.create_batch(
        connection, store, [Attachment(file=file) for file in (good, bad, running, queued)]
    )
    assert batch.running is False
    process(connection, index, store, good, ["one"], embed=embed)
    fail(connection, store, bad, "unsupported", "a picture")
    job = store_files.get_store_file(connection, store.organisation, store.id, running).job
    begin(connection, store.organisation, job)
    batch = file_batches.get_batch(connection, store, batch.id)
    assert (batch.status, batch.files) == (
        FileStatus.IN_PROGRESS,
        FileCounts(in_progress=2, completed=1, failed=1),
    )
    assert batch.running
    batch = file_batches.cancel_batch(connection, store, batch.id)
    assert (batch.status, batch.files) == (
        FileStatus.IN_PROGRESS,
        FileCounts(in_progress=1, completed=1, failed=1, cancelled=1),
    )
    end_job(connection, store.organisation, job, JobState.CANCELLED)
    assert file_batches.get_batch(connection, store, batch.id).status == FileStatus.CANCELLED


def test_a_batch_of_failed_files_has_failed(connection: Connection[Any], store: VectorStore) -> None:
    (file,) = make_files(connection, store.organisation)
    batch = file_batches.create_batch(connection, store, [Attachment(file=file)])
    fail(connection, store, file, "empty", "no")
    assert file_batches.get_batch(connection, store, batch.id).status == FileStatus.FAILED


@pytest.mark.parametrize("newest_first", [True, False])
def test_each_file_is_listed_once_while_files_are_attached_and_detached(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex, newest_first: bool
) -> None:
    there = make_files(connection, store.organisation, 9)
    for part in (there[:4], there[4:5], there[5:]):
        file_batches.create_batch(connection, store, [Attachment(file=file) for file in part])
    seen: list[str] = []
    while True:
        page = PageRequest(after=seen[-1] if seen else None, limit=2, newest_first=newest_first)
        listed = store_files.list_store_files(connection, store, page)
        seen += [attached.file for attached in listed.items]
        if len(seen) > 2:
            store_files.detach(connection, store, seen[-1])
        attaching.attach(connection, store, make_files(connection, store.organisation)[0])
        if not listed.has_more or len(seen) > 30:
            break
    assert sorted(file for file in seen if file in there) == sorted(there)
    assert len(set(seen)) == len(seen)


def test_lists_can_be_limited_to_one_status_and_one_batch(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex
) -> None:
    first, second, third = make_files(connection, store.organisation, 3)
    batch = file_batches.create_batch(connection, store, [Attachment(file=first), Attachment(file=second)])
    attaching.attach(connection, store, third)
    process(connection, index, store, first, ["one"], embed=embed)

    def listed(**which: Any) -> set[str]:
        return {
            attached.file
            for attached in store_files.list_store_files(connection, store, PageRequest(), **which).items
        }

    assert listed() == {first, second, third}
    assert listed(status=FileStatus.COMPLETED) == {first}
    assert listed(batch=batch.id) == {first, second}
    assert listed(batch=batch.id, status=FileStatus.IN_PROGRESS) == {second}
    with pytest.raises(InvalidInput, match="before"):
        store_files.list_store_files(connection, store, PageRequest(before="file-none"))


def test_a_deleted_store_is_emptied_in_portions_and_its_jobs_are_cancelled(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.documents.vector_stores.store_upkeep.ROWS_AT_ONCE", 2)
    done, waiting = make_files(connection, store.organisation, 2)
    file_batches.create_batch(connection, store, [Attachment(file=done), Attachment(file=waiting)])
    process(connection, index, store, done, list("abcde"), embed=embed)
    job = store_files.get_store_file(connection, store.organisation, store.id, waiting).job
    with pytest.raises(Conflict):
        delete_store_rows(connection, store.organisation, store.id)
    delete_store(connection, store.organisation, store.id)
    assert len(texts(index, store)) == 5
    deleted = []
    while rows := delete_store_rows(connection, store.organisation, store.id):
        deleted.append(rows)
    assert deleted == [2, 2, 2, 1, 1, 1, 1]  # files, chunks, document, batch, store
    assert texts(index, store) == []
    assert jobs.get_job(connection, store.organisation, job).state == JobState.CANCELLED
    assert delete_store_rows(connection, store.organisation, store.id) == 0
    assert connection.execute(
        "SELECT count(*) FROM files WHERE organisation = %s", [store.organisation]
    ).fetchone() == (2,)


def test_an_expired_store_is_emptied_by_one_job_and_keeps_its_row(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex
) -> None:
    (file,) = make_files(connection, store.organisation)
    attaching.attach(connection, store, file)
    process(connection, index, store, file, ["one"], embed=embed)
    expire(connection, store)
    assert expire_stores(connection) >= 0
    submitted = [job for job in jobs_of(connection, store.organisation) if job.kind == "delete_store"]
    assert [job.subject for job in submitted] == [store.id]
    with pytest.raises(Conflict, match="expired"):
        attaching.attach(connection, get_store(connection, store.organisation, store.id), file)
    while delete_store_rows(connection, store.organisation, store.id):
        pass
    assert get_store(connection, store.organisation, store.id).expired
    assert (texts(index, store), usage_of(connection, store.organisation, [store.id])[store.id]) == (
        [],
        StoreUsage(),
    )


def test_another_organisation_sees_and_changes_nothing(
    connection: Connection[Any],
    store: VectorStore,
    index: ChunkIndex,
    stranger: str,
    get: Callable[[str], StoreFile],
) -> None:
    (file,) = make_files(connection, store.organisation)
    batch = file_batches.create_batch(connection, store, [Attachment(file=file)])
    process(connection, index, store, file, ["ours"], embed=embed)
    before = get(file)
    theirs = ensure_store(connection, stranger, "theirs", fingerprint=store.fingerprint)
    foreign = [theirs, VectorStore(**{**_fields(store), "organisation": stranger})]
    for other in foreign:
        with pytest.raises(NotFound):
            attaching.attach(connection, other, file)
        with pytest.raises(NotFound):
            store_files.get_store_file(connection, stranger, other.id, file)
        with pytest.raises(NotFound):
            store_files.update_attributes(connection, other, file, {"a": 1})
        with pytest.raises(NotFound):
            store_files.detach(connection, other, file)
        with pytest.raises(NotFound):
            file_batches.get_batch(connection, other, batch.id)
        with pytest.raises(NotFound):
            file_batches.cancel_batch(connection, other, batch.id)
        assert store_files.list_store_files(connection, other, PageRequest()).items == []
        with pytest.raises(InvalidInput):
            store_files.list_store_files(connection, other, PageRequest(after=file))
        assert store_files.hold(connection, stranger, other.id, file, before.job) is None
        assert (
            store_files.record_status(
                connection, stranger, other.id, file, before.job, status=FileStatus.FAILED
            )
            is False
        )
    assert store_files.detach_everywhere(connection, stranger, file) == 0
    assert delete_store_rows(connection, stranger, store.id) == 0
    assert get(file) == before
    assert texts(index, store) == ["ours"]
    assert find_store(connection, store.organisation, store.id) == store


def expire(connection: Connection[Any], store: VectorStore) -> None:
    connection.execute("UPDATE vector_stores SET expires_at = now() WHERE id = %s", [store.id])
    expire_stores(connection)


def _fields(store: VectorStore) -> dict[str, Any]:
    return {name: getattr(store, name) for name in store.__slots__}
