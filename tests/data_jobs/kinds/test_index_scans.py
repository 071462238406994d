"""The worker recognises the pages of an attached scan, with the options of the store and of the file."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.files import File
from cluster.documents.vector_stores.rechunking import change_store
from cluster.documents.vector_stores.store_files import get_store_file
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Engine, Registry, open_engine
from cluster.jobs.jobs import JobState
from cluster.settings import Settings
from data_jobs.stages.parsing import tesseract_program
from tests.data_jobs.running_consumer import LocalClient, consuming
from tests.data_jobs.stages.formats.ocr.pictures import LINES, scanned
from tests.data_jobs.stages.formats.ocr.stand_in import WORD, put_first


@pytest.fixture(scope="module")
def engine(
    settings: Settings, pool: ConnectionPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The engine of a worker with ``CLUSTER_OCR=auto`` and a stand-in for Tesseract."""
    engine = open_engine(Registry(settings).default)
    with pytest.MonkeyPatch.context() as patch:
        put_first(tmp_path_factory.mktemp("programs"), WORD, patch)
        tesseract_program.installed.cache_clear()
        with consuming(settings.model_copy(update={"ocr": "auto"}), pool, engine):
            yield engine
    tesseract_program.installed.cache_clear()


def test_scanned_pages_are_searchable_and_filtered_by_their_confidence(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str
) -> None:
    client = LocalClient(settings, pool, engine, organisation)
    store, file = client.store(), client.upload("scan.pdf", scanned(LINES[0], None), "application/pdf")
    job = client.ended(client.attach(store, file))
    assert job.result is not None, job.error
    facts = {name: job.result["facts"].get(name) for name in ("ocr_pages", "ocr_confidence", "unread_pages")}
    assert (job.result["outcome"], facts) == (
        "ok",
        {"ocr_pages": 1, "ocr_confidence": 87.5, "unread_pages": None},
    )
    index = open_chunk_index(client.settings, client.pool)
    for least, texts in ((80, {"word", "This page has letters."}), (90, set())):
        wanted = {"type": "gt", "key": "ocr_confidence", "value": least}
        question = client.engine.embed(["letters"]).vectors[0]
        hits = index.search(
            organisation, store.id, collection=store.collection, vector=question, k=10, filter=wanted
        )
        assert {hit.text for hit in hits} == texts


def recognised(client: LocalClient, job: str) -> tuple[str, object]:
    """Return the outcome of the file's job, and the number of recognised pages."""
    ended = client.ended(job)
    if ended.result is None:
        return str(ended.error_code), None
    return ended.result["outcome"], ended.result["facts"].get("ocr_pages")


def test_the_options_of_the_file_and_of_the_store_replace_those_of_the_worker(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str
) -> None:
    client = LocalClient(settings, pool, engine, organisation)
    scan = client.upload("scan.pdf", scanned(LINES[0], None), "application/pdf")
    store = client.store(ocr="off")
    assert recognised(client, client.attach(store, scan)) == ("partial_text", None)
    assert recognised(client, client.attach(store, scan, ocr="force")) == ("ok", 2)
    assert recognised(client, client.attach(store, scan, ocr="auto")) == ("ok", 1)
    assert recognised(client, client.attach(store, scan, ocr="auto", ocr_languages="jpn")) == (
        "partial_text",
        None,
    )


def test_a_new_option_of_the_store_reads_its_files_again(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str
) -> None:
    client = LocalClient(settings, pool, engine, organisation)
    scan = client.upload("scan.pdf", scanned(LINES[0], None), "application/pdf")
    own = client.upload("own.pdf", scanned(LINES[0], None), "application/pdf")
    store = client.store(ocr="off")
    assert recognised(client, client.attach(store, scan)) == ("partial_text", None)
    assert recognised(client, client.attach(store, own, ocr="auto")) == ("ok", 1)
    with pool.connection() as connection:
        jobs = {file.id: job_of(connection, store, file) for file in (scan, own)}
        change_store(connection, organisation, store.id, {"ocr": "force"})
        found = connection.execute("SELECT id FROM jobs WHERE subject = %s", [store.id]).fetchone()
    assert found is not None
    assert client.ended(found[0]).state == JobState.SUCCEEDED
    with pool.connection() as connection:
        again = {file.id: job_of(connection, store, file) for file in (scan, own)}
    assert again[own.id] == jobs[own.id]
    assert again[scan.id] != jobs[scan.id]
    assert recognised(client, again[scan.id]) == ("ok", 2)


def job_of(connection: Connection[Any], store: VectorStore, file: File) -> str:
    return get_store_file(connection, store.organisation, store.id, file.id).job
