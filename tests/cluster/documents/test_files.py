"""A file belongs to one organisation, is stored once, and exists until it is deleted or expires."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.blobs import Blob, BlobStore, open_blob_store
from cluster.documents.files import (
    File,
    create_file,
    delete_file,
    expire_files,
    get_file,
    list_files,
    release_blob,
    release_blobs,
    require_blob,
)
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.attaching import attach
from cluster.documents.vector_stores.store_files import get_store_file
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import NotFound, Throttled
from cluster.organisations.organisations import StorageLimits
from cluster.settings import Settings
from tests.waiting import LONGEST_WAIT_S

NO_LIMITS = StorageLimits()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return open_blob_store(Settings(home=tmp_path))


def some_blob(size: int = 10) -> Blob:
    """A blob that no other test uses."""
    return Blob(sha256=(uuid4().hex + uuid4().hex), bytes=size)


def make(
    connection: Connection[Any], organisation: str, blob: Blob | None = None, name: str = "a.txt", **more: Any
) -> File:
    """Create a file in a transaction of its own."""
    with connection.transaction():
        return create_file(
            connection, organisation, name, more.pop("purpose", "assistants"), blob or some_blob(),
            "text/plain", default_limits=more.pop("default_limits", NO_LIMITS), **more,
        )  # fmt: skip


def put(blobs: BlobStore, organisation: str, content: bytes) -> Blob:
    with blobs.writer(organisation) as writer:
        writer.write(content)
        return writer.commit()


def age(connection: Connection[Any], organisation: str, seconds: int) -> None:
    """Make the files of the organisation older by these seconds."""
    connection.execute(
        "UPDATE files SET created_at = created_at - make_interval(secs => %(s)s),"
        " expires_at = expires_at - make_interval(secs => %(s)s) WHERE organisation = %(o)s",
        {"s": seconds, "o": organisation},
    )


def test_only_its_organisation_finds_a_file(
    connection: Connection[Any], organisation: str, stranger: str, index: ChunkIndex
) -> None:
    file = make(connection, organisation)
    assert get_file(connection, organisation, file.id) == file
    for ask in (get_file, lambda *args: delete_file(*args)):
        with pytest.raises(NotFound, match=file.id):
            ask(connection, stranger, file.id)
    assert list_files(connection, stranger).items == []


def test_an_upload_repeated_within_ten_minutes_is_the_same_file(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    blob = some_blob()
    file = make(connection, organisation, blob)
    assert make(connection, organisation, blob) == file
    others = [
        make(connection, organisation, blob, "b.txt"),
        make(connection, organisation, blob, purpose="user_data"),
        make(connection, organisation, blob, expires_after_s=3600),
        make(connection, organisation),
        make(connection, stranger, blob),
    ]
    assert len({file.id, *(other.id for other in others)}) == 6
    age(connection, organisation, 590)
    assert make(connection, organisation, blob).id == file.id
    age(connection, organisation, 11)
    assert make(connection, organisation, blob).id != file.id


def test_concurrent_uploads_of_the_same_bytes_make_one_file(pool: ConnectionPool, organisation: str) -> None:
    blob = some_blob()

    def send(_: int) -> str:
        with pool.connection() as connection:
            return make(connection, organisation, blob).id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(send, range(16)))) == 1


def test_pages_list_each_file_once_in_the_order_of_creation(
    connection: Connection[Any], organisation: str, index: ChunkIndex
) -> None:
    made = [
        make(connection, organisation, purpose="batch" if n % 3 == 0 else "assistants").id for n in range(10)
    ]

    def pages(*, deleting: bool = False, **more: Any) -> Iterator[str]:
        after = None
        while True:
            page = list_files(connection, organisation, after=after, limit=3, **more)
            yield from (file.id for file in page.items)
            if not page.has_more:
                return
            after = page.items[-1].id
            if deleting:
                for file in page.items:
                    delete_file(connection, organisation, file.id)

    assert list(pages(newest_first=False)) == made
    assert list(pages()) == made[::-1]
    assert list(pages(purpose="batch", newest_first=False)) == made[::3]
    assert list(pages(deleting=True)) == made[::-1]


def test_limits_hold_for_uploads_that_come_at_once(pool: ConnectionPool, organisation: str) -> None:
    def send(limits: StorageLimits) -> bool:
        with pool.connection() as connection:
            try:
                make(connection, organisation, default_limits=limits)
            except Throttled:
                return False
            return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(send, [StorageLimits(files=5)] * 12)) == 5
        assert sum(threads.map(send, [StorageLimits(bytes=100)] * 12)) == 5


def test_the_limits_of_an_organisations_row_win_over_the_settings(
    connection: Connection[Any], organisation: str
) -> None:
    make(connection, organisation)
    connection.execute("UPDATE organisations SET files_limit = 1 WHERE id = %s", [organisation])
    with pytest.raises(Throttled, match=r"keeps 1 files of at most 1 \(.*files_limit"):
        make(connection, organisation)
    connection.execute("UPDATE organisations SET files_limit = 0 WHERE id = %s", [organisation])
    assert make(connection, organisation, default_limits=StorageLimits(files=1))


def test_a_repeated_upload_does_not_count_twice(connection: Connection[Any], organisation: str) -> None:
    blob = some_blob()
    file = make(connection, organisation, blob, default_limits=StorageLimits(files=1))
    assert make(connection, organisation, blob, default_limits=StorageLimits(files=1)) == file


def test_an_expired_file_is_hidden_at_once_and_deleted_later(
    connection: Connection[Any], organisation: str, store: VectorStore, index: ChunkIndex
) -> None:
    lasting, brief = make(connection, organisation), make(connection, organisation, expires_after_s=3600)
    index.ensure(store.collection, dim=store.fingerprint.dim)
    attach(connection, store, brief.id)
    age(connection, organisation, 3601)
    with pytest.raises(NotFound):
        get_file(connection, organisation, brief.id)
    assert [file.id for file in list_files(connection, organisation).items] == [lasting.id]
    with connection.transaction():
        over = expire_files(connection)
    assert [file.sha256 for file in over if file.organisation == organisation] == [brief.sha256]
    with pytest.raises(NotFound):
        get_store_file(connection, organisation, store.id, brief.id)


def test_files_of_batches_expire_after_a_month_and_others_never(
    connection: Connection[Any], organisation: str
) -> None:
    batch, other = make(connection, organisation, purpose="batch"), make(connection, organisation)
    assert batch.expires_at is not None
    assert (batch.expires_at - batch.created_at).days == 30
    assert other.expires_at is None


def test_a_deleted_file_is_detached_and_a_refused_deletion_changes_nothing(
    connection: Connection[Any], organisation: str, store: VectorStore, index: ChunkIndex
) -> None:
    file = make(connection, organisation)
    index.ensure(store.collection, dim=store.fingerprint.dim)
    job = attach(connection, store, file.id).job
    with connection.transaction(force_rollback=True):
        delete_file(connection, organisation, file.id)
    assert get_store_file(connection, organisation, store.id, file.id).job == job
    with connection.transaction():
        delete_file(connection, organisation, file.id)
    with pytest.raises(NotFound):
        get_store_file(connection, organisation, store.id, file.id)
    assert connection.execute(
        "SELECT state FROM jobs WHERE organisation = %s AND id = %s", [organisation, job]
    ).fetchone() == ("cancelled",)


def test_a_blob_is_kept_while_any_file_needs_it(
    connection: Connection[Any], organisation: str, blobs: BlobStore, index: ChunkIndex
) -> None:
    blob = put(blobs, organisation, uuid4().bytes)
    files = [make(connection, organisation, blob, name) for name in ("a.txt", "b.txt")]
    for file, left in zip(files, (True, False), strict=True):
        delete_file(connection, organisation, file.id)
        assert release_blobs(connection, blobs, organisation, [blob.sha256, blob.sha256]) == (
            0 if left else 1
        )
        assert blobs.exists(organisation, blob.sha256) is left


def test_a_blob_is_not_deleted_while_a_row_that_names_it_is_written(
    pool: ConnectionPool, organisation: str, blobs: BlobStore
) -> None:
    blob = put(blobs, organisation, uuid4().bytes)

    def release() -> bool:
        with pool.connection() as connection:
            return release_blob(connection, blobs, organisation, blob.sha256)

    with ThreadPoolExecutor(1) as thread, pool.connection() as connection:
        with connection.transaction():
            assert require_blob(connection, blobs, organisation, blob.sha256)
            released = thread.submit(release)
            make(connection, organisation, blob)
            with pytest.raises(TimeoutError):
                released.result(0.3)
        assert released.result(LONGEST_WAIT_S) is False
    assert blobs.exists(organisation, blob.sha256)
