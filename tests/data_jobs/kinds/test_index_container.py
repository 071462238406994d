"""The entries of an attached archive become searchable files of their own, and follow the archive."""

import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from io import BytesIO

import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.containers.container_entries import EntryCounts, count_entries, list_entries
from cluster.documents.files import delete_file, release_blobs
from cluster.documents.vector_stores import attaching, store_files
from cluster.documents.vector_stores.store_files import FileStatus, StoreFile
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Engine, Registry, open_engine
from cluster.jobs.jobs import JobState
from cluster.records import public_error
from cluster.settings import Settings
from data_jobs.worker.consumer import Consumer
from tests.data_jobs.running_consumer import LocalClient, consuming

PUMP = "# The pump\n\nOnly the shift supervisor may stop the pump.\n"
CAT = "The cat of the night watch sleeps beside the boiler.\n"
INNER = "Spare gaskets are kept in cabinet nine.\n"


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.fixture(scope="module")
def consumer(settings: Settings, pool: ConnectionPool, engine: Engine) -> Iterator[Consumer]:
    with consuming(settings, pool, engine) as consumer:
        yield consumer


@pytest.fixture
def client(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str, consumer: Consumer
) -> LocalClient:
    return LocalClient(settings, pool, engine, organisation)


def zipped(**entries: str | bytes) -> bytes:
    """A ZIP archive; two underscores in a name stand for a slash, one underscore for a full stop."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return file.getvalue()


def upload(client: LocalClient, data: bytes, name: str = "manual.zip") -> str:
    return client.upload(name, data, "application/zip").id


def attach(client: LocalClient, store: VectorStore, file: str, **options: object) -> StoreFile:
    with client.pool.connection() as connection:
        job = attaching.attach(connection, store, file, **options).job  # type: ignore[arg-type]
    client.ended(job)
    return attached(client, store, file)


def attached(client: LocalClient, store: VectorStore, file: str) -> StoreFile:
    with client.pool.connection() as connection:
        return store_files.get_store_file(connection, client.organisation, store.id, file)


def files_of(client: LocalClient, store: VectorStore) -> dict[str, StoreFile]:
    """The attached files of the store, by name."""
    with client.pool.connection() as connection:
        rows = connection.execute(
            "SELECT file FROM vector_store_files WHERE organisation = %s AND vector_store = %s",
            [client.organisation, store.id],
        ).fetchall()
    found = [attached(client, store, file) for (file,) in rows]
    return {one.filename: one for one in found}


def jobs_of(client: LocalClient) -> int:
    with client.pool.connection() as connection:
        row = connection.execute(
            "SELECT count(*) FROM jobs WHERE organisation = %s", [client.organisation]
        ).fetchone()
    assert row is not None
    return int(row[0])


def embedded(client: LocalClient) -> int:
    """The number of chunks that were embedded for the organisation."""
    with client.pool.connection() as connection:
        row = connection.execute(
            "SELECT coalesce(sum((result ->> 'embedded')::int), 0) FROM jobs WHERE organisation = %s",
            [client.organisation],
        ).fetchone()
    assert row is not None
    return int(row[0])


ARCHIVE = {
    "docs__pump_md": PUMP,
    "docs__cat_txt": CAT,
    "inner_zip": zipped(gaskets_txt=INNER),
    "data_bin": b"\0\1\2" * 99,
    "_hidden_md": "a hidden file",
}


def test_an_archive_is_completed_when_its_entries_are_and_a_hit_names_the_entry(client: LocalClient) -> None:
    store, file = client.store(), upload(client, zipped(**ARCHIVE))
    parent = attach(client, store, file, attributes={"plant": "north"})
    assert (parent.status, parent.usage_bytes) == (FileStatus.COMPLETED, 0)
    with client.pool.connection() as connection:
        counts = count_entries(connection, client.organisation, store.id, [file])
        listed = list_entries(connection, client.organisation, store.id, file, after=-1, limit=10)
    assert counts == {
        file: EntryCounts(total=4, in_progress=0, completed=3, failed=0, cancelled=0, left_out=1)
    }
    assert [(one.path, one.status, one.outcome) for one in listed] == [
        ("docs/pump.md", "completed", "ok"),
        ("docs/cat.txt", "completed", "ok"),
        ("inner.zip!/gaskets.txt", "completed", "ok"),
        ("data.bin", None, "unsupported"),
    ]
    assert listed[3].detail == "is application/octet-stream, which no parser here reads"
    question = client.engine.embed(["Where are the gaskets?"]).vectors[0]
    index = open_chunk_index(client.settings, client.pool)
    place = {"type": "eq", "key": "container", "value": "manual.zip"}
    hit = index.search(
        client.organisation, store.id, collection=store.collection, vector=question, filter=place
    )[0]
    assert (hit.attributes["filename"], hit.attributes["path"]) == ("gaskets.txt", "inner.zip!/gaskets.txt")
    assert (hit.attributes["plant"], hit.attributes["file_id"]) == ("north", listed[2].file)
    job = client.job(parent.job)
    assert (job.state, job.result and job.result["outcome"]) == (JobState.SUCCEEDED, "partial_text")
    assert job.result is not None
    assert job.result["entries"]["completed"] == 3


def test_a_new_version_of_an_archive_embeds_only_what_changed(client: LocalClient) -> None:
    store = client.store()
    first = upload(client, zipped(pump_md=PUMP, cat_txt=CAT))
    attach(client, store, first)
    before, jobs = embedded(client), jobs_of(client)
    again = attach(client, store, first)
    assert (again.status, embedded(client), jobs_of(client)) == (FileStatus.COMPLETED, before, jobs + 1)
    second = upload(client, zipped(pump_md=PUMP, cat_txt=INNER))
    attach(client, store, second)
    assert (embedded(client), jobs_of(client)) == (before + 1, jobs + 3)
    with client.pool.connection() as connection:
        store_files.detach(connection, store, first)
    assert {name: one.status for name, one in files_of(client, store).items()} == {
        "manual.zip": "completed",
        "pump.md": "completed",
        "cat.txt": "completed",
    }
    assert files_of(client, store)["manual.zip"].file == second


def test_entries_are_deleted_with_the_last_archive_that_has_them(client: LocalClient) -> None:
    store = client.store()
    one, two = (upload(client, zipped(pump_md=PUMP, other_txt=text)) for text in (CAT, INNER))
    for file in (one, two):
        attach(client, store, file)
    kept = []
    for file in (one, two):
        with client.pool.connection() as connection, connection.transaction():
            gone = delete_file(connection, client.organisation, file)
        with client.pool.connection() as connection:
            release_blobs(connection, client.blobs, client.organisation, [one.sha256 for one in gone])
        kept.append(sorted(files_of(client, store)))
    assert kept == [["manual.zip", "other.txt", "pump.md"], []]
    with client.pool.connection() as connection:
        for table in ("files", "entry_files", "container_entries", "documents"):
            left = connection.execute(
                f"SELECT count(*) FROM {table} WHERE organisation = %s",
                [client.organisation],
            ).fetchone()
            assert left == (0,), table
    assert not [blob for blob in client.blobs.list() if blob.organisation == client.organisation]


REFUSED = {
    "damaged": (b"PK\x03\x04" + bytes(100), "corrupt", "invalid_file", "damaged ZIP archive"),
    "without files": (zipped(), "empty", "invalid_file", "holds no files"),
    "only binaries": (
        zipped(a_bin=b"\0\1\2" * 99),
        "unsupported",
        "unsupported_file",
        "a.bin: is application",
    ),
    "a bomb": (zipped(a_txt=bytes(40_000_000)), "too_large", "invalid_file", "CLUSTER_MAX_CONTAINER_RATIO"),
}


@pytest.mark.parametrize(("data", "code", "error_code", "says"), REFUSED.values(), ids=REFUSED)
def test_an_archive_without_readable_entries_fails_with_the_reason(
    client: LocalClient, data: bytes, code: str, error_code: str, says: str
) -> None:
    store, file = client.store(), upload(client, data)
    found = attach(client, store, file)
    assert (found.status, found.error_code, public_error(found.error_code)) == ("failed", code, error_code)
    assert says in (found.error or "")


def test_a_mail_is_searchable_itself_and_its_attachments_are_entries(client: LocalClient) -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "Gaskets", "Ann <ann@example.com>"
    message["Message-ID"], message["Date"] = "<1@example.com>", "Mon, 05 Jan 2026 10:00:00 +0100"
    message.set_content(INNER)
    store = client.store()
    plain = client.upload("plain.eml", bytes(message), "message/rfc822").id
    facts = attach(client, store, plain).facts or {}
    assert (facts["subject"], facts["from"]) == ("Gaskets", "Ann <ann@example.com>")
    assert facts["sent"] == "2026-01-05T09:00:00+00:00"
    message.add_attachment(CAT, filename="cat.txt")
    mail = client.upload("mail.eml", bytes(message), "message/rfc822").id
    found = attach(client, store, mail)
    assert (found.status, found.chunks, found.usage_bytes) == (FileStatus.COMPLETED, 1, len(bytes(message)))
    job = client.job(found.job)
    assert job.result is not None
    assert job.result["entries"]["completed"] == 1
    entry = files_of(client, store)["cat.txt"]
    assert entry.status == FileStatus.COMPLETED
    assert entry.facts is not None
    assert (entry.facts["container"], entry.facts["path"]) == ("mail.eml", "cat.txt")
