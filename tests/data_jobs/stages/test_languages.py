"""Bulk ingest stores the language of a document, and a search finds other forms of the document's words."""

import json

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import ensure_store
from cluster.engines import Registry, describe
from cluster.records import Page, document_id
from cluster.settings import Settings
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.document_row import DocumentRow, new_row, page_columns, to_table, unpack
from data_jobs.stages.embed import new_chunk_ids
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.write import Write
from tests.cluster.languages.texts import CHINESE, ENGLISH, FRENCH, GERMAN


@pytest.mark.parametrize(
    ("texts", "language", "question", "language_of_chunk", "keyword"),
    [
        ([GERMAN], "de", "Haus", "de", "pumpen"),
        ([FRENCH], "fr", "bâtiment", "fr", "pompes"),
        ([CHINESE], "zh", "房屋", "zh", "水泵"),
        ([ENGLISH * 4, GERMAN * 4], "mul", "Haus", "de", "pumpen"),
    ],
    ids=["German", "French", "Chinese", "English and German"],
)
def test_a_document_is_found_by_words_of_its_language(
    settings: Settings,
    pool: ConnectionPool,
    organisation: str,
    texts: list[str],
    language: str,
    question: str,
    language_of_chunk: str,
    keyword: str,
) -> None:
    settings = settings.model_copy(update={"organisation": organisation})
    with pool.connection() as connection:
        store = ensure_store(connection, organisation, "s", fingerprint=describe(Registry(settings).default))
    index = open_chunk_index(settings, pool)
    index.ensure(store.collection, dim=store.fingerprint.dim)
    row: DocumentRow = {
        **new_row(document_id(organisation, store.id, "a"), "file:///a.pdf", ""),
        **page_columns([Page(number=number, text=text) for number, text in enumerate(texts, start=1)]),
        "content_hash": "aa",
        "media_type": "application/pdf",
        "pages": len(texts),
        "pages_with_text": len(texts),
    }
    row = Keywords(settings)(Chunk(settings, store.fingerprint)(row))
    assert json.loads(row["facts"])["language"] == language
    assert keyword in row["keywords"]
    vectors = np.eye(len(new_chunk_ids(unpack(row))), store.fingerprint.dim, dtype=np.float32)
    Write(settings, store, job="job_none", pipeline_version="v")(
        to_table([{**row, "vectors": vectors.tobytes()}])
    )
    of_language = {"type": "eq", "key": "language", "value": language_of_chunk}
    for filter in (None, of_language):
        hits = index.search(organisation, store.id, collection=store.collection, text=question, filter=filter)
        assert {hit.attributes["language"] for hit in hits} == {language_of_chunk}
