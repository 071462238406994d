"""The doctor finds every kind of fault, says what to do, and repairs it. Each test causes a real fault."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.blobs import Blob, BlobStore, open_blob_store
from cluster.crawls import browser_program
from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.doctor import Finding, HealthReport, PartCheck, examine, parts
from cluster.documents import documents
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.files import File, create_file, get_file
from cluster.documents.given_vectors.given_rows import RowChecker
from cluster.documents.given_vectors.insert import AskedBy, insert, write_ahead
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.attaching import attach
from cluster.documents.vector_stores.store_files import FileStatus, StoreFile, get_store_file
from cluster.documents.vector_stores.stores import (
    NewStore,
    VectorStore,
    create_store,
    delete_store,
    ensure_store,
)
from cluster.engines import Fingerprint, Registry, describe
from cluster.engines.weights import open_model_folder
from cluster.errors import NotFound
from cluster.jobs import attempts, queue
from cluster.jobs.jobs import Job, JobState, get_job
from cluster.local.environment import settings_variables
from cluster.organisations.organisations import StorageLimits, ensure_organisation
from cluster.secrets import Secret, new_key, open_cipher
from cluster.secrets.provider_keys import delete_key, set_key
from cluster.settings import Settings
from cluster.webhooks.endpoints import NewEndpoint, create_endpoint, delete_endpoint
from tests.cluster.jobs import turns
from tests.cluster.jobs.turns import TEST
from tests.conftest import ROOT, NewHome, free_ports
from tests.serve_app.conftest import serving
from tests.waiting import LONGEST_WAIT_S

FINGERPRINT = describe(Registry(Settings()).default)


@pytest.fixture(scope="module")
def home(new_home: NewHome) -> Settings:
    """A cluster for this file alone, because the doctor examines all of it."""
    return new_home("sick", with_database=True).model_copy(update={"lease_s": 600.0})


@pytest.fixture(scope="module")
def its_pool(home: Settings) -> Iterator[ConnectionPool]:
    pool = open_pool(home, access=OWNER)
    yield pool
    pool.close()


@pytest.fixture
def connection(its_pool: ConnectionPool) -> Iterator[Connection[Any]]:
    with its_pool.connection() as connection:
        connection.autocommit = True
        yield connection
        connection.autocommit = False


@pytest.fixture
def organisation(connection: Connection[Any]) -> str:
    id = f"org-{uuid4().hex[:12]}"
    ensure_organisation(connection, id)
    return id


@pytest.fixture
def blobs(home: Settings) -> BlobStore:
    return open_blob_store(home)


@pytest.fixture
def index(home: Settings, its_pool: ConnectionPool) -> ChunkIndex:
    return open_chunk_index(home, its_pool)


@pytest.fixture
def store(connection: Connection[Any], index: ChunkIndex, organisation: str) -> VectorStore:
    store = ensure_store(connection, organisation, "handbook", fingerprint=FINGERPRINT)
    index.ensure(store.collection, dim=FINGERPRINT.dim)
    return store


@pytest.fixture(autouse=True)
def healthy_before_and_after(home: Settings, its_pool: ConnectionPool) -> Iterator[None]:
    assert examine(home).findings == []
    yield
    assert examine(home).findings == []


def part(report: HealthReport, name: str) -> PartCheck:
    (found,) = [part for part in report.parts if part.name == name]
    return found


def found_and_mended(home: Settings, name: str, *examples: str) -> Finding:
    """Examine twice without and once with repair, and return the finding of the repair."""
    for _ in range(2):  # an examination changes nothing
        (finding,) = examine(home).findings
        assert (finding.name, finding.mended) == (name, None)
        assert set(finding.examples) == set(examples)
    (mended,) = examine(home, mend=True).findings
    assert (mended.name, mended.count, mended.mended, mended.trouble) == (
        name,
        finding.count,
        finding.count,
        "",
    )
    return mended


def upload(connection: Connection[Any], blobs: BlobStore, organisation: str) -> tuple[File, Blob]:
    with blobs.writer(organisation) as writer:
        writer.write(uuid4().bytes)
        blob = writer.commit()
    with connection.transaction():
        return create_file(
            connection,
            organisation,
            "a.txt",
            "assistants",
            blob,
            "text/plain",
            default_limits=StorageLimits(),
        ), blob


def searchable(
    connection: Connection[Any],
    index: ChunkIndex,
    store: VectorStore,
    attached: StoreFile,
    *,
    chunks: int = 2,
) -> None:
    """Finish the job of the attached file: two recorded chunks, and ``chunks`` in the index."""
    job = begin(connection, store.organisation, kind="index_file")
    attempt = documents.DocumentAttempt(
        organisation=store.organisation,
        id=attached.document,
        vector_store=store.id,
        source=attached.file,
        source_stamp="",
        version="v",
        job=job.id,
        content_hash="hash",
    )
    content = documents.DocumentContent(
        media_type="text/plain", bytes=1, pages=1, pages_with_text=1, chunks=2, tokens=2, keywords=[]
    )
    documents.record_success(connection, attempt, content)
    rows = [
        ChunkRecord(
            id=f"{attached.document}{n}", document=attached.document, text="a", attributes={}, vector=unit()
        )
        for n in range(chunks)
    ]
    index.upsert(store.organisation, store.id, rows, collection=store.collection)
    connection.execute("UPDATE vector_store_files SET status = 'completed' WHERE job = %s", [job.id])
    attempts.finish(connection, job, result={})


def unit() -> Any:
    return np.eye(1, FINGERPRINT.dim, dtype=np.float32)[0]


def begin(
    connection: Connection[Any], organisation: str, *, kind: str = "test", worker: int | None = None
) -> Job:
    turn = turns.take(connection, organisation, worker=worker)
    assert turn is not None
    job = attempts.claim(connection, turn, worker="test-worker", kinds=[kind])
    assert job is not None
    return job


def die(connection: Connection[Any], worker: int) -> None:
    connection.execute(
        "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 h' WHERE id = %s", [worker]
    )


def test_a_job_whose_worker_died_is_queued_again(
    home: Settings, connection: Connection[Any], organisation: str
) -> None:
    job = queue.submit(connection, organisation, TEST, {})
    worker = turns.register(connection)
    begin(connection, organisation, worker=worker)
    die(connection, worker)
    found_and_mended(home, "jobs_without_lease", f"{organisation}/{job.id}")
    again = get_job(connection, organisation, job.id)
    assert (again.state, again.attempt) == (JobState.QUEUED, 2)
    assert begin(connection, organisation).id == job.id


def test_a_job_without_a_queue_entry_gets_one(
    home: Settings, connection: Connection[Any], organisation: str
) -> None:
    jobs = [queue.submit(connection, organisation, TEST, {}) for _ in range(3)]
    connection.execute("DELETE FROM procrastinate_jobs WHERE id = ANY(%s)", [[job.entry for job in jobs[:2]]])
    assert found_and_mended(home, "jobs_without_turn", f"{organisation}/medium").count == 2
    assert {begin(connection, organisation).id for _ in jobs} == {job.id for job in jobs}


def test_a_queue_entry_that_a_dead_worker_took_without_a_job_is_ended(
    home: Settings, connection: Connection[Any], organisation: str
) -> None:
    job = queue.submit(connection, organisation, TEST, {})
    queue.cancel(connection, organisation, job.id)
    worker = turns.register(connection)
    assert turns.take(connection, organisation, worker=worker)
    die(connection, worker)
    found_and_mended(home, "entries_without_job", f"{organisation}/{job.entry}")
    assert connection.execute(
        "SELECT status FROM procrastinate_jobs WHERE id = %s", [job.entry]
    ).fetchone() == ("failed",)


@pytest.mark.parametrize("end", ["failed", "cancelled", "succeeded", "gone"])
def test_an_attached_file_ends_with_its_job(
    end: str, home: Settings, connection: Connection[Any], blobs: BlobStore, store: VectorStore
) -> None:
    file, _ = upload(connection, blobs, store.organisation)
    attached = attach(connection, store, file.id)
    if end == "gone":
        connection.execute("DELETE FROM jobs WHERE id = %s", [attached.job])
    else:
        error = "no text" if end == "failed" else None
        connection.execute(
            "UPDATE jobs SET state = %s, error = %s, finished_at = now() WHERE id = %s",
            [end, error, attached.job],
        )
        connection.execute(
            "UPDATE vector_store_files SET status = 'in_progress', error = NULL WHERE job = %s",
            [attached.job],
        )
    found_and_mended(home, "files_in_progress_without_job", f"{store.organisation}/{file.id}")
    now = get_store_file(connection, store.organisation, store.id, file.id)
    if end in {"failed", "cancelled"}:
        assert (now.status, now.job, now.error) == (FileStatus(end), attached.job, error)
    else:
        assert (now.status, now.job_state) == (FileStatus.IN_PROGRESS, JobState.QUEUED)
        assert now.job != attached.job


def test_chunks_of_a_deleted_document_are_deleted(
    home: Settings, connection: Connection[Any], blobs: BlobStore, index: ChunkIndex, store: VectorStore
) -> None:
    attached = [
        attach(connection, store, upload(connection, blobs, store.organisation)[0].id) for _ in range(2)
    ]
    for one in attached:
        searchable(connection, index, store, one)
    documents.delete_document(connection, store.organisation, attached[0].document)
    found_and_mended(home, "chunks_without_document", f"{store.organisation}/{attached[0].document}")
    assert {
        row.document for row in index.scan(store.organisation, store.id, collection=store.collection)
    } == {attached[1].document}


def test_a_store_under_deletion_is_left_to_its_job(
    home: Settings, connection: Connection[Any], blobs: BlobStore, index: ChunkIndex, store: VectorStore
) -> None:
    attached = attach(connection, store, upload(connection, blobs, store.organisation)[0].id)
    searchable(connection, index, store, attached)
    delete_store(connection, store.organisation, store.id)
    documents.delete_document(connection, store.organisation, attached.document)
    assert examine(home, mend=True).findings == []
    assert index.count(store.organisation, store.id, collection=store.collection) == 2
    connection.execute(
        "UPDATE jobs SET state = 'failed', finished_at = now() WHERE subject = %s AND state = 'queued'",
        [store.id],
    )
    connection.commit()
    found_and_mended(home, "chunks_without_document", f"{store.organisation}/{attached.document}")
    assert index.count(store.organisation, store.id, collection=store.collection) == 0


def test_given_vectors_need_no_document(
    home: Settings, connection: Connection[Any], index: ChunkIndex, organisation: str
) -> None:
    store = create_store(connection, organisation, NewStore(), fingerprint=Fingerprint.of_given(2))
    connection.commit()
    index.ensure(store.collection, dim=2)
    rows, _ = RowChecker(2).check([(1, {"id": "a", "vector": [1, 2]})])
    with connection.transaction():
        insert(connection, index, store, write_ahead(index, store, rows), AskedBy(work="rows"))
    assert examine(home, mend=True).findings == []
    assert index.count(organisation, store.id, collection=store.collection) == 1


def test_a_document_that_lost_chunks_is_processed_again(
    home: Settings, connection: Connection[Any], blobs: BlobStore, index: ChunkIndex, store: VectorStore
) -> None:
    file, _ = upload(connection, blobs, store.organisation)
    attached = attach(connection, store, file.id, attributes={"year": 2026})
    searchable(connection, index, store, attached, chunks=1)
    found_and_mended(home, "documents_without_chunks", f"{store.organisation}/{attached.document}")
    now = get_store_file(connection, store.organisation, store.id, file.id)
    assert (now.status, now.job_state, now.attributes) == (
        FileStatus.IN_PROGRESS,
        JobState.QUEUED,
        {"year": 2026},
    )
    known = documents.known_documents(connection, store.organisation, store.id, [attached.document])[
        attached.document
    ]
    assert (known.content_hash, known.attempted_hash, known.outcome) == (None, None, "failed")


def test_words_of_an_older_version_are_renewed(
    home: Settings, connection: Connection[Any], blobs: BlobStore, index: ChunkIndex, store: VectorStore
) -> None:
    searchable(
        connection,
        index,
        store,
        attach(connection, store, upload(connection, blobs, store.organisation)[0].id),
    )
    older = (
        f"UPDATE vectors_{store.collection} SET text = '“pump”', words = NULL, words_version = 0"
        " WHERE organisation = %s"
    )
    connection.execute(older, [store.organisation])
    assert index.search(store.organisation, store.id, collection=store.collection, text="pump") == []
    found_and_mended(home, "stores_with_old_words", f"{store.organisation}/{store.id}")
    assert len(index.search(store.organisation, store.id, collection=store.collection, text="pump")) == 2
    assert (
        "UTF8, LC_CTYPE C (word search is the same under every LC_CTYPE)"
        in part(examine(home), "database").says
    )


def test_a_file_without_bytes_is_deleted_unless_it_is_searchable(
    home: Settings, connection: Connection[Any], blobs: BlobStore, index: ChunkIndex, store: VectorStore
) -> None:
    (lost, blob), (kept, other) = (
        upload(connection, blobs, store.organisation),
        upload(connection, blobs, store.organisation),
    )
    searchable(connection, index, store, attach(connection, store, kept.id))
    blobs.delete(store.organisation, blob.sha256)
    found_and_mended(home, "files_without_blob", f"{store.organisation}/{lost.id}")
    with pytest.raises(NotFound, match=lost.id):
        get_file(connection, store.organisation, lost.id)
    blobs.delete(store.organisation, other.sha256)
    (finding,) = examine(home, mend=True).findings
    assert (finding.examples, finding.mended) == ([f"{store.organisation}/{kept.id}"], 0)
    assert index.count(store.organisation, store.id, collection=store.collection) == 2
    connection.execute("DELETE FROM files WHERE id = %s", [kept.id])


def test_bytes_without_a_file_are_deleted_after_an_hour(
    home: Settings, connection: Connection[Any], blobs: BlobStore, organisation: str
) -> None:
    file, needed = upload(connection, blobs, organisation)
    with blobs.writer(organisation) as writer:
        writer.write(uuid4().bytes)
        lost = writer.commit()
    assert examine(home, mend=True).findings == []  # its upload may still run
    assert blobs.exists(organisation, lost.sha256)
    hour_ago = time.time() - 3700
    for blob in (lost, needed):
        os.utime(
            next(home.home.joinpath("blobs", organisation).glob(f"*/{blob.sha256}")), (hour_ago, hour_ago)
        )
    found_and_mended(home, "blobs_without_row", f"{organisation}/{lost.sha256}")
    assert not blobs.exists(organisation, lost.sha256)
    assert blobs.exists(organisation, needed.sha256)
    assert get_file(connection, organisation, file.id) == file


def test_a_wrong_blob_store_costs_no_file(
    home: Settings, connection: Connection[Any], blobs: BlobStore, organisation: str, tmp_path: Path
) -> None:
    files = [upload(connection, blobs, organisation)[0] for _ in range(21)]
    empty = home.model_copy(update={"blob_url": str(tmp_path)})
    (finding,) = examine(empty, mend=True).findings
    assert (finding.name, finding.mended) == ("files_without_blob", 0)
    assert "CLUSTER_BLOB_URL" in finding.trouble
    assert get_file(connection, organisation, files[0].id) == files[0]


def test_a_running_cluster_is_healthy_and_the_command_says_so(
    home: Settings, connection: Connection[Any]
) -> None:
    turns.register(connection)
    with serving(home) as server:
        settings = home.model_copy(update={"api_port": int(server.url.rpartition(":")[2])})
        report = examine(settings)
        assert [(part.name, part.fine) for part in report.parts] == [
            (name, True)
            for name in (
                "database",
                "room",
                "blobs",
                "queues",
                "alerts",
                "indexes",
                "ray",
                "engine",
                "parsers",
            )
        ]
        assert report.healthy
        shown = doctor(settings)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "All is well." in shown.stdout
        report_json = json.loads(doctor(settings, "--json").stdout)
        assert (report_json["healthy"], report_json["findings"], len(report_json["parts"])) == (True, [], 9)
    assert not list(home.home.joinpath("blobs").rglob("incoming/*"))


def test_a_part_that_does_not_run_is_named_with_a_remedy(
    home: Settings, connection: Connection[Any], organisation: str
) -> None:
    connection.execute("UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE state = 'running'")
    connection.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE status = 'doing'")
    connection.execute("DELETE FROM procrastinate_workers")
    connection.execute(
        "UPDATE jobs SET created_at = now() - interval '2 h', retry_at = NULL WHERE state = 'queued'"
    )
    queue.submit(connection, organisation, TEST, {})
    report = examine(home)
    assert not report.healthy
    ray, queues = part(report, "ray"), part(report, "queues")
    assert (ray.fine, ray.remedy) == (False, "run make up")
    assert (queues.fine, "no worker is alive" in queues.says, "make up" in queues.remedy) == (
        False,
        True,
        True,
    )
    turns.register(connection)
    queues = part(examine(home), "queues")
    assert (queues.fine, "CLUSTER_MAX_WORKERS" in queues.remedy) == (False, True)
    shown = doctor(home)
    assert shown.returncode == 1
    assert "wrong" in shown.stdout
    connection.execute("UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE state = 'queued'")


def test_a_blob_store_that_does_not_work_is_found(home: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url, words in ((str(tmp_path / "file"), "blob"), ("nowhere://bucket", "CLUSTER_BLOB_URL")):
        seen = part(examine(home.model_copy(update={"blob_url": url})), "blobs")
        assert (seen.fine, words in seen.says) == (False, True)


def test_an_unexpected_model_is_found(home: Settings, tmp_path: Path) -> None:
    folder = shutil.copytree(open_model_folder(Registry(home).default).path, tmp_path / "model")
    weights = folder / "model.safetensors"
    settings = home.model_copy(
        update={"model_path": folder, "model_sha256": open_model_folder(Registry(home).default).sha256}
    )
    assert part(examine(settings), "engine").fine
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    seen = part(examine(settings), "engine")
    assert (seen.fine, "SHA-256" in seen.says) == (False, True)
    weights.unlink()
    assert not part(examine(settings), "engine").fine


def test_a_missing_library_of_a_parser_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PDF by pdfium" in parts.parsers(Settings(pdf_parser="pdfium")).says

    def version(package: str) -> str:
        if package == "pymupdf":
            raise PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(parts, "version", version)
    seen = parts.parsers(Settings())
    assert (seen.fine, seen.says) == (False, "packages are not installed: pymupdf, which reads PDF")
    assert "CLUSTER_PDF_PARSER" in seen.remedy
    assert parts.parsers(Settings(pdf_parser="pdfium")).fine


def test_the_doctor_says_why_web_pages_are_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "web pages are not rendered (CLUSTER_BROWSER)" in parts.parsers(Settings(browser="off")).says
    monkeypatch.setattr(browser_program, "find_spec", lambda _: None)
    assert "the extra browser is not installed" in parts.parsers(Settings()).says
    monkeypatch.setattr(browser_program, "find_spec", lambda name: name)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program = Path(sys.executable)
    assert "refuses to run as root" in parts.parsers(Settings(browser_program=program)).says
    ready = Settings(browser_program=program, browser_sandbox=False)
    assert f"{program} renders web pages" in parts.parsers(ready).says


def test_without_a_database_the_other_parts_are_examined_and_nothing_is_started(
    new_home: NewHome,
) -> None:
    settings = new_home("never-up")
    report = examine(settings, mend=True)
    assert [(part.name, part.fine) for part in report.parts] == [
        ("database", False),
        ("blobs", True),
        ("ray", False),
        ("engine", True),
        ("parsers", True),
    ]
    assert "make up" in part(report, "database").remedy
    assert not bundled.status(settings).running
    away = settings.model_copy(
        update={"database_url": SecretStr(f"postgresql://nobody:x@127.0.0.1:{free_ports(1)[0]}/none")}
    )
    assert "CLUSTER_DATABASE_URL" in part(examine(away), "database").remedy


def test_a_database_without_the_schema_is_not_reported_as_unavailable(new_home: NewHome) -> None:
    settings = new_home("bare")
    bundled.start(settings)
    seen = part(examine(settings), "database")
    assert (seen.fine, "0001_foundation.sql" in seen.says, seen.remedy) == (
        False,
        True,
        "run make up, which applies them",
    )


def doctor(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "cluster.doctor", *arguments],
        cwd=ROOT,
        env={**os.environ, **settings_variables(settings)},
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT_S,
    )


def test_a_key_that_the_setting_does_not_decrypt_is_found_and_left_to_the_operator(
    home: Settings, connection: Connection[Any], organisation: str
) -> None:
    old, new = new_key(), new_key()
    cipher = open_cipher(SecretStr(old))
    set_key(connection, cipher, organisation, "openai", Secret("sk-0123456789abcdef"))
    new_hook = NewEndpoint(url="https://hooks.example/", event_types=["job.failed"])
    with connection.transaction():
        hook, _ = create_endpoint(connection, cipher, organisation, new_hook, limit=1)
    assert examine(home.model_copy(update={"secret_key": SecretStr(f"{new},{old}")})).findings == []

    for secret_key in (None, SecretStr("no Fernet key"), SecretStr(new)):
        (finding,) = examine(home.model_copy(update={"secret_key": secret_key}), mend=True).findings
        assert (finding.name, finding.count, finding.mended) == ("undecryptable_keys", 2, 0)
        assert finding.examples == [f"{organisation}/openai", f"{organisation}/{hook.id}"]
        assert "add the Fernet key that encrypted them to CLUSTER_SECRET_KEY" in finding.trouble

    delete_key(connection, organisation, "openai")
    delete_endpoint(connection, organisation, hook.id)
