"""A document that was read only in part is searchable, and answers about it say which part is missing."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from psycopg_pool import ConnectionPool
from rich.console import Console

from cluster.documents import documents
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import VectorStore, ensure_store
from cluster.engines import Registry, describe
from cluster.local import status
from cluster.organisations.rows import change_organisation
from cluster.records import Outcome, document_id
from cluster.settings import Settings
from data_jobs import ingest as command
from data_jobs.bulk.plan import make_plan
from data_jobs.bulk.report import IngestReport
from data_jobs.sources import SourceFile
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.document_row import DocumentRow, new_row, to_rows, to_table, unpack
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.map_rows import map_rows
from data_jobs.stages.pipeline_version import pipeline_version
from data_jobs.stages.write import Write

SOURCE = SourceFile(uri="file:///half.pdf", size=1, stamp="1:1")
DETAIL = "page 2 of 2 could not be read: it is a picture"


@pytest.fixture
def store(settings: Settings, pool: ConnectionPool, organisation: str) -> VectorStore:
    with pool.connection() as connection:
        made = ensure_store(
            connection, organisation, "partial", fingerprint=describe(Registry(settings).default)
        )
    open_chunk_index(settings, pool).ensure(made.collection, dim=made.fingerprint.dim)
    return made


@pytest.fixture
def row(store: VectorStore) -> DocumentRow:
    """A row as the parse stage returns it."""
    return {
        **new_row(document_id(store.organisation, store.id, SOURCE.uri), SOURCE.uri, SOURCE.stamp),
        "content_hash": "aa",
        "media_type": "application/pdf",
        "page_texts": ["Herons stand still.", ""],
        "pages": 2,
        "pages_with_text": 1,
        "outcome": Outcome.PARTIAL_TEXT,
        "detail": DETAIL,
        "facts": '{"unread_pages": 1}',
    }


def written(settings: Settings, store: VectorStore, row: DocumentRow) -> dict[str, Any]:
    """Run the stages after parsing, with made-up vectors; returns the result of the document."""
    settings = settings.model_copy(update={"organisation": store.organisation})
    table = to_table([row])
    for stage in (Chunk(settings, store.fingerprint), Keywords(settings)):
        table = map_rows(stage, settings)(table)
    (row,) = to_rows(table)
    vectors = np.ones((len(unpack(row)), store.fingerprint.dim), np.float32).tobytes()
    version = pipeline_version(settings, store.fingerprint)
    written = Write(settings, store, job="job_1", pipeline_version=version)(
        to_table([{**row, "vectors": vectors}])
    )
    (line,) = written.to_pylist()
    return dict(line)


THAI, ENGLISH = "ปิดปั๊มน้ำก่อนเปิดวาล์วทุกครั้ง " * 40, "Close the pump before you open the valve. " * 40


@pytest.mark.parametrize(
    ("text", "outcome", "share"),
    [
        (THAI, Outcome.PARTIAL_TEXT, "100%"),
        (ENGLISH + THAI, Outcome.PARTIAL_TEXT, "4"),
        (ENGLISH + "🦩", Outcome.OK, ""),
        (ENGLISH, Outcome.OK, ""),
    ],
    ids=["Thai", "half of it", "an emoji", "English"],
)
def test_text_unknown_to_the_model_is_reported(
    settings: Settings,
    pool: ConnectionPool,
    store: VectorStore,
    row: DocumentRow,
    text: str,
    outcome: Outcome,
    share: str,
) -> None:
    row = {
        **row,
        "page_texts": [text],
        "pages": 1,
        "pages_with_text": 1,
        "outcome": Outcome.OK,
        "detail": "",
        "facts": '{"encoding": "utf_8"}',
    }
    line = written(settings, store, row)
    assert line["outcome"] == outcome
    sentence = f"% of the text is unknown to the model {settings.model}"
    assert (sentence in line["detail"], line["detail"][: len(share)]) == (
        outcome == Outcome.PARTIAL_TEXT,
        share,
    )
    index = open_chunk_index(settings, pool)
    rows = list(index.scan(store.organisation, store.id, collection=store.collection))
    unknown = {row.attributes.get("unknown_tokens", 0) for row in rows}
    assert len(unknown) == 1
    assert (unknown == {0}) == (text == ENGLISH)
    assert all(row.attributes["encoding"] == "utf_8" for row in rows)
    if THAI in text:
        assert index.search(store.organisation, store.id, collection=store.collection, text="วาล์ว")


def test_a_line_too_long_for_the_index_becomes_chunks_that_are_found(
    settings: Settings, pool: ConnectionPool, store: VectorStore, row: DocumentRow
) -> None:
    text = ENGLISH + "0123456789abcdef" * 20_000 + " " * 300_000 + "heron"
    line = written(settings, store, {**row, "page_texts": [text], "outcome": Outcome.OK, "detail": ""})
    assert (line["outcome"], line["chunks"] > 500) == (Outcome.OK, True)
    (hit,) = open_chunk_index(settings, pool).search(
        store.organisation, store.id, collection=store.collection, text="heron"
    )
    assert hit.text == "heron"


def test_a_document_partly_unread_and_partly_unknown_reports_both(
    settings: Settings, store: VectorStore, row: DocumentRow
) -> None:
    line = written(settings, store, {**row, "page_texts": [THAI, ""]})
    assert line["detail"].startswith(f"{DETAIL}; 100% of the text is unknown")


def test_a_partly_read_document_is_searchable_and_settled_and_says_what_is_missing(
    settings: Settings, pool: ConnectionPool, store: VectorStore, row: DocumentRow
) -> None:
    line = written(settings, store, row)
    assert (line["outcome"], line["detail"], line["chunks"], line["embedded"]) == (
        Outcome.PARTIAL_TEXT,
        DETAIL,
        1,
        1,
    )
    index = open_chunk_index(settings, pool)
    (found,) = index.scan(store.organisation, store.id, collection=store.collection)
    assert (found.text, found.attributes["unread_pages"]) == ("Herons stand still.", 1)
    plan = make_plan(pool, settings, store, [SOURCE])
    assert plan.pending == []
    assert [(done["outcome"], done["detail"], done["pages"], done["chunks"]) for done in plan.settled] == [
        ("partial_text", DETAIL, 2, 1)
    ]


def test_status_counts_a_partly_read_document_as_indexed(
    settings: Settings, pool: ConnectionPool, store: VectorStore, row: DocumentRow
) -> None:
    written(settings, store, row)
    with pool.connection() as connection:
        attempt = documents.DocumentAttempt(
            organisation=store.organisation, id="doc_bad", vector_store=store.id, source="b", source_stamp="",
            version="1", job="job_1", content_hash=None,
        )  # fmt: skip
        documents.record_failure(connection, attempt, Outcome.CORRUPT, "is damaged")
    (ours,) = [one for one in status.gather(settings).stores if one.organisation == store.organisation]
    assert (ours.documents, ours.not_indexed) == (1, 1)


def test_a_partly_read_document_without_tokens_is_empty_and_says_what_is_missing(
    settings: Settings, store: VectorStore, row: DocumentRow
) -> None:
    line = written(settings, store, {**row, "page_texts": [" ", ""]})
    assert line["outcome"] == Outcome.EMPTY
    assert DETAIL in line["detail"]


def test_the_summary_counts_partly_read_documents_separately_and_not_as_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = IngestReport(console=Console(file=io.StringIO(), width=200))
    zeros = dict.fromkeys(("pages", "chunks", "embedded", "tokens", "tokens_embedded"), 0)
    for source, outcome, detail in (("a.pdf", "ok", ""), ("half.pdf", "partial_text", DETAIL)):
        report.add({"source": source, "outcome": outcome, "detail": detail, "unchanged": False, **zeros})
    report.print("Ingested")
    assert isinstance(report.console.file, io.StringIO)
    printed = report.console.file.getvalue()
    assert "2 (0 unchanged, 0 failed, 1 read in part)" in printed
    assert f"partial_text half.pdf: {DETAIL}" in printed
    assert report.to_dict()["outcomes"] == {"ok": 1, "partial_text": 1}
    monkeypatch.setattr(
        command,
        "ingest",
        lambda settings, location, name, run, *_: run.add(
            {**zeros, "source": "half.pdf", "outcome": "partial_text", "detail": DETAIL, "unchanged": False}
        ),
    )
    assert command.main(["half.pdf", "--vector-store", "s"]) == command.EXIT_OK


def test_every_stage_processes_a_partly_read_document(settings: Settings, row: DocumentRow) -> None:
    table = map_rows(lambda row: {**row, "media_type": "seen"}, settings)(to_table([row]))
    assert isinstance(table, pa.Table)
    assert table["media_type"].to_pylist() == ["seen"]


def test_a_document_over_the_quota_of_its_organisation_ends_with_that_reason(
    settings: Settings, pool: ConnectionPool, store: VectorStore, row: DocumentRow
) -> None:
    with pool.connection() as connection:
        change_organisation(connection, store.organisation, {"vectors_limit": 1})
    long = {**row, "page_texts": [ENGLISH * 5, ""]}
    refused = written(settings, store, long)
    assert refused["outcome"] == Outcome.FAILED
    assert f"organisation {store.organisation} stores 0 vectors of at most 1" in refused["detail"]
    with pool.connection() as connection:
        stored = documents.known_documents(connection, store.organisation, store.id, [row["document"]])
    assert stored[row["document"]].outcome == Outcome.FAILED
    assert written(settings, store, row)["outcome"] == Outcome.PARTIAL_TEXT, "a smaller document still fits"
