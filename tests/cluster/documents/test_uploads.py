"""An upload in parts becomes one file or none, and its parts are released."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.blobs import Blob
from cluster.documents.files import File, get_file, list_files
from cluster.documents.uploads import (
    COMPLETION_GRACE_S,
    Upload,
    UploadStatus,
    add_part,
    cancel_upload,
    complete_upload,
    create_upload,
    expire_uploads,
    get_pending,
    get_upload,
    ordered_parts,
)
from cluster.errors import InvalidInput, NotFound, Throttled
from cluster.organisations.organisations import StorageLimits
from tests.cluster.documents.test_files import NO_LIMITS, make, some_blob


def begin(
    connection: Connection[Any],
    organisation: str,
    size: int = 30,
    limits: StorageLimits = NO_LIMITS,
    **more: Any,
) -> Upload:
    with connection.transaction():
        return create_upload(
            connection, organisation, "a.txt", "assistants", size, "text/plain",
            lifetime_s=3600, default_limits=limits, **more,
        )  # fmt: skip


def complete(
    connection: Connection[Any], upload: Upload, whole: Blob, limits: StorageLimits = NO_LIMITS
) -> tuple[Upload, File, list[str]]:
    with connection.transaction():
        return complete_upload(connection, upload, whole, "text/plain", default_limits=limits)


def age(connection: Connection[Any], upload: Upload, seconds: float) -> None:
    connection.execute(
        "UPDATE uploads SET expires_at = expires_at - make_interval(secs => %s)"
        " WHERE organisation = %s AND id = %s",
        [seconds, upload.organisation, upload.id],
    )


def test_parts_become_a_file_in_the_order_of_their_ids(
    connection: Connection[Any], organisation: str
) -> None:
    upload, blobs = (
        begin(connection, organisation, expires_after_s=7200),
        [some_blob(), some_blob(), some_blob()],
    )
    parts = [add_part(connection, organisation, upload.id, blob) for blob in blobs]
    named = [parts[2].id, parts[0].id, parts[1].id]
    assert [part.sha256 for part in ordered_parts(connection, upload, named)] == [
        blobs[n].sha256 for n in (2, 0, 1)
    ]
    whole = some_blob(30)
    done, file, released = complete(connection, upload, whole)
    assert (done.status, done.file) == (UploadStatus.COMPLETED, file.id)
    assert (file.sha256, file.bytes, file.filename) == (whole.sha256, 30, "a.txt")
    assert file.expires_at is not None
    assert (file.expires_at - file.created_at).seconds == 7200
    assert sorted(released) == sorted(blob.sha256 for blob in blobs)
    with pytest.raises(InvalidInput, match="completed"):
        add_part(connection, organisation, upload.id, some_blob())


def test_a_part_sent_twice_is_one_part_and_may_be_used_twice(
    connection: Connection[Any], organisation: str
) -> None:
    upload, blob = begin(connection, organisation, 20), some_blob()
    part, again = (add_part(connection, organisation, upload.id, blob) for _ in range(2))
    assert part == again
    assert [one.id for one in ordered_parts(connection, upload, [part.id, part.id])] == [part.id] * 2


def test_unknown_parts_and_wrong_sizes_are_refused(connection: Connection[Any], organisation: str) -> None:
    upload, other = begin(connection, organisation, 20), begin(connection, organisation, 20)
    mine, foreign = (
        add_part(connection, organisation, upload.id, some_blob()),
        add_part(connection, organisation, other.id, some_blob()),
    )
    with pytest.raises(InvalidInput, match="not a part of upload"):
        ordered_parts(connection, upload, [mine.id, foreign.id])
    with pytest.raises(InvalidInput, match="add up to 10 bytes, and 20"):
        ordered_parts(connection, upload, [mine.id])
    with pytest.raises(InvalidInput, match="create a new upload"):
        add_part(connection, organisation, upload.id, some_blob(31))


def test_concurrent_completions_make_one_file(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    upload, whole = begin(connection, organisation), some_blob(30)

    def run(_: int) -> str:
        with pool.connection() as mine:
            return complete(mine, upload, whole)[1].id

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(run, range(6)))) == 1
    assert len(list_files(connection, organisation).items) == 1


def test_a_cancelled_upload_releases_its_parts_and_takes_no_more(
    connection: Connection[Any], organisation: str
) -> None:
    upload, blob = begin(connection, organisation), some_blob()
    add_part(connection, organisation, upload.id, blob)
    cancelled, released = cancel_upload(connection, organisation, upload.id)
    assert (cancelled.status, released) == (UploadStatus.CANCELLED, [blob.sha256])
    assert cancel_upload(connection, organisation, upload.id) == (cancelled, [])
    with pytest.raises(InvalidInput, match="cancelled"):
        complete(connection, upload, some_blob(30))
    done = begin(connection, organisation)
    complete(connection, done, some_blob(30))
    with pytest.raises(InvalidInput, match="completed"):
        cancel_upload(connection, organisation, done.id)


def test_upkeep_ends_an_expired_upload(connection: Connection[Any], organisation: str) -> None:
    upload, blob = begin(connection, organisation), some_blob()
    add_part(connection, organisation, upload.id, blob)
    age(connection, upload, 3601)
    assert get_upload(connection, organisation, upload.id).status == UploadStatus.EXPIRED
    with pytest.raises(InvalidInput, match="expired"):
        get_pending(connection, organisation, upload.id)

    def upkeep() -> list[list[str]]:
        with connection.transaction():
            return [
                released
                for ended, released in expire_uploads(connection)
                if ended.organisation == organisation
            ]

    assert upkeep() == []  # a completion that began in time may still be writing
    age(connection, upload, COMPLETION_GRACE_S)
    assert upkeep() == [[blob.sha256]]
    assert upkeep() == []
    assert get_upload(connection, organisation, upload.id).status == UploadStatus.EXPIRED


def test_a_completion_that_began_in_time_may_end_late(connection: Connection[Any], organisation: str) -> None:
    upload = begin(connection, organisation)
    age(connection, upload, 3601)
    _, file, _ = complete(connection, upload, some_blob(30))
    assert get_file(connection, organisation, file.id) == file


def test_a_pending_upload_counts_towards_the_limits_once(
    connection: Connection[Any], organisation: str
) -> None:
    limits = StorageLimits(bytes=50)
    upload = begin(connection, organisation, 30, limits)
    with pytest.raises(Throttled):
        make(connection, organisation, some_blob(21), default_limits=limits)
    with pytest.raises(Throttled):
        begin(connection, organisation, 21, limits)
    make(connection, organisation, some_blob(20), default_limits=limits)
    complete(connection, upload, some_blob(30), limits)
    with pytest.raises(Throttled):
        make(connection, organisation, some_blob(1), default_limits=limits)


def test_another_organisation_cannot_use_an_upload(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    upload = begin(connection, organisation)
    for ask in (get_upload, cancel_upload, lambda *args: add_part(*args, some_blob())):
        with pytest.raises(NotFound, match=upload.id):
            ask(connection, stranger, upload.id)
