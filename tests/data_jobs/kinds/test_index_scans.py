"""The worker recognises the pages of an attached scan, and its confidence is an attribute for filters."""

from collections.abc import Iterator

import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.engines import Engine, Registry, open_engine
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
