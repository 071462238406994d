"""An attached file becomes searchable, or says why not; a try leaves all of its work or nothing."""

from collections.abc import Iterator
from decimal import Decimal

import pymupdf
import pytest
from psycopg_pool import ConnectionPool

from cluster.budgets.budgets import change_budget
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores import attaching, store_files
from cluster.documents.vector_stores.store_files import FileStatus, StoreFile
from cluster.engines import Engine, Registry, open_engine
from cluster.jobs import queue
from cluster.jobs.jobs import JobState
from cluster.jobs.kinds import INGEST_FILES
from cluster.records import public_error
from cluster.settings import Settings
from data_jobs.worker.consumer import Consumer
from tests.cluster.budgets.spender import Spender
from tests.data_jobs.running_consumer import LocalClient, consuming

PUMP = b"# The pump\n\nOnly the shift supervisor may stop the pump. Valve 17 is closed first.\n"


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


def attached(client: LocalClient, store: str, file: str) -> StoreFile:
    with client.pool.connection() as connection:
        return store_files.get_store_file(connection, client.organisation, store, file)


def test_a_file_is_searchable_with_its_name_its_page_and_its_owner_s_attributes(client: LocalClient) -> None:
    store, file = client.store(), client.upload("pump.md", PUMP, "text/markdown")
    job = client.ended(client.attach(store, file, attributes={"plant": "north", "page": "front"}))
    assert (job.state, job.done, job.total) == (JobState.SUCCEEDED, 100, 100)
    assert (job.result or {}) | {"document": ""} == {
        "document": "",
        "pages": 1,
        "chunks": 1,
        "embedded": 1,
        "tokens": 17,
        "tokens_embedded": 17,
        "outcome": "ok",
        "detail": "",
        "facts": {"encoding": "ascii", "language": "en"},
        "vector_store": store.id,
        "file": file.id,
        "failed_pages": [],
        "entries": None,
    }
    index = open_chunk_index(client.settings, client.pool)
    question = client.engine.embed(["who may stop the pump?"]).vectors[0]
    (hit,) = index.search(
        client.organisation,
        store.id,
        collection=store.collection,
        vector=question,
        filter={"type": "eq", "key": "plant", "value": "north"},
    )
    assert hit.attributes["filename"] == "pump.md"
    assert (hit.attributes["file_id"], hit.attributes["page"]) == (file.id, "front")
    assert attached(client, store.id, file.id).status == FileStatus.COMPLETED
    assert used(client) == [
        ("job", "chunk", "chunks", None, 1, job.id),
        ("job", "embedding", "tokens", store.fingerprint.model, 19, job.id),
        ("job", "page", "pages", None, 1, job.id),
    ]


def used(client: LocalClient) -> list[tuple[object, ...]]:
    """The usage events of the organisation."""
    with client.pool.connection() as connection:
        return connection.execute(
            "SELECT source, kind, unit, model, quantity, job FROM usage_events WHERE organisation = %s"
            " ORDER BY at, kind",
            [client.organisation],
        ).fetchall()


def test_the_same_file_again_embeds_nothing(client: LocalClient) -> None:
    store, file = client.store(), client.upload("pump.md", PUMP)
    client.ended(client.attach(store, file))
    again = client.ended(client.attach(store, file))
    assert again.result is not None
    assert (again.result["chunks"], again.result["embedded"]) == (1, 0)
    assert [kind for _, kind, *_ in used(client)] == ["chunk", "embedding", "page", "page"]


UNREADABLE = {
    "half a PDF": (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog", "corrupt", "invalid_file"),
    "no document": (b"\x00\x01\x02\xff" * 99, "unsupported", "unsupported_file"),
    "white space": (b" \n", "empty", "invalid_file"),
}


@pytest.mark.parametrize(("data", "code", "error_code"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_is_a_dead_letter_with_a_reason(
    client: LocalClient, data: bytes, code: str, error_code: str
) -> None:
    store, file = client.store(), client.upload("a.pdf", data, "application/pdf")
    job = client.ended(client.attach(store, file))
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, code, 1)
    found = attached(client, store.id, file.id)
    assert (found.status, public_error(found.error_code), found.error) == (
        FileStatus.FAILED,
        error_code,
        job.error,
    )


def test_a_long_pdf_is_parsed_in_parts_and_every_page_keeps_its_number(client: LocalClient) -> None:
    with pymupdf.open() as document:
        for number in range(1, 121):
            document.new_page().insert_text(
                (72, 72), f"This sentence stands on page {number} and nowhere else."
            )
        data = document.tobytes()
    store, file = client.store(), client.upload("long.pdf", data, "application/pdf")
    job = client.ended(client.attach(store, file))
    assert job.result is not None, job.error
    assert (job.result["pages"], job.result["chunks"]) == (120, 120)
    index = open_chunk_index(client.settings, client.pool)
    pages = {
        row.attributes["page"]: row.text
        for row in index.scan(client.organisation, store.id, collection=store.collection)
    }
    assert all(f"page {number} and" in text for number, text in pages.items())
    assert len(pages) == 120


def test_a_long_text_with_form_feeds_is_read_once(client: LocalClient) -> None:
    text = "\f".join(f"This sentence stands on page {number} and nowhere else." for number in range(1, 121))
    store, file = client.store(), client.upload("rfc.txt", text.encode())
    job = client.ended(client.attach(store, file))
    assert job.result is not None, job.error
    assert (job.result["pages"], job.result["chunks"]) == (120, 120)


def test_the_good_pages_of_a_bad_document_are_searchable_where_the_store_asks_for_it(
    client: LocalClient,
) -> None:
    with pymupdf.open() as document:
        for number in range(1, 61):
            document.new_page().insert_text((72, 72), f"This sentence stands on page {number}.")
        bad = document[41]
        document.update_stream(
            bad.get_contents()[0], b"q 1 0 0 1 0 0 cm " * 8_000_000, compress=True
        )  # unpacks to more than is allowed
        data = document.tobytes()
    file = client.upload("bad.pdf", data, "application/pdf")
    whole = client.store()
    assert client.ended(client.attach(whole, file)).error_code == "too_large"
    partial = client.store(partial=True)
    job = client.ended(client.attach(partial, file))
    assert job.result is not None, job.error
    assert (job.state, job.result["failed_pages"], job.result["chunks"]) == (JobState.SUCCEEDED, [42], 59)
    reason = "page 42 of 60 could not be read: it unpacks to more than 64 MiB of drawing commands on page 42"
    assert (job.result["outcome"], job.result["detail"], job.result["facts"]) == (
        "partial_text",
        reason,
        {"unread_pages": 1, "language": "und"},
    )
    found = attached(client, partial.id, file.id)
    assert (found.status, found.failed_pages, found.outcome, found.detail) == (
        "completed",
        [42],
        "partial_text",
        reason,
    )
    index = open_chunk_index(client.settings, client.pool)
    wanted = {"type": "gt", "key": "unread_pages", "value": 0}
    hits = index.search(
        client.organisation,
        partial.id,
        collection=partial.collection,
        text="sentence stands",
        k=100,
        filter=wanted,
    )
    assert len(hits) == 59


def test_a_job_that_is_queued_again_after_another_took_its_place_says_which(client: LocalClient) -> None:
    store, file = client.store(), client.upload("pump.md", PUMP, "text/markdown")
    with client.pool.connection() as connection:
        first = attaching.attach(connection, store, file.id).job
        queue.cancel(connection, client.organisation, first)
    second = client.attach(store, file)
    client.ended(second)
    with client.pool.connection() as connection:
        queue.replay(connection, client.organisation, first)
    ended = client.ended(first)
    assert (ended.state, ended.error_code, second in (ended.error or "")) == (
        JobState.CANCELLED,
        "replaced",
        True,
    )


def test_an_ingest_of_uploaded_files_attaches_those_that_are_not_in_the_store(client: LocalClient) -> None:
    store = client.store()
    files = [client.upload(f"{number}.md", PUMP + bytes([65 + number])) for number in range(3)]
    client.upload("rows.parquet", b"PAR1", "application/vnd.apache.parquet")
    client.ended(client.attach(store, files[0]))

    def ingest(ids: list[str] | None) -> dict[str, object]:
        input = {"vector_store": store.id, "files": ids, "attributes": {"n": 1}, "chunking_strategy": None}
        with client.pool.connection() as connection:
            job = queue.submit(connection, client.organisation, INGEST_FILES, input, subject=store.id)
        ended = client.ended(job.id)
        assert ended.state == JobState.SUCCEEDED, ended.error
        return ended.result or {}

    one = ingest([files[0].id, files[1].id])
    assert (one["files"], one["attached"], one["already_attached"], one["left_out"]) == (2, 1, 1, 0)
    every = ingest(None)
    assert (every["files"], every["attached"], every["already_attached"]) == (3, 1, 2)
    with client.pool.connection() as connection:
        attached = [
            store_files.get_store_file(connection, client.organisation, store.id, file.id) for file in files
        ]
    assert [one.attributes for one in attached] == [{}, {"n": 1}, {"n": 1}]
    assert {client.ended(one.job).state for one in attached} == {JobState.SUCCEEDED}


def test_a_file_that_a_budget_does_not_cover_fails_until_the_budget_is_raised(
    client: LocalClient, pool: ConnectionPool
) -> None:
    spender = Spender(pool, client.organisation)
    budget = spender.budget(20)
    store, file = client.store(), client.upload("pump.md", PUMP, "text/markdown")
    assert client.ended(client.attach(store, file)).state == JobState.SUCCEEDED
    assert (spender.only.used, spender.only.reserved) == (19, 0)

    other = client.upload("other.md", PUMP.replace(b"pump", b"turbine"), "text/markdown")
    job = client.ended(client.attach(store, other))
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "budget_exceeded", 1)
    assert f"budget {budget.id} allows 20 tokens a month; 19 tokens are used" in (job.error or "")
    assert "renews at" in (job.error or "")
    assert attached(client, store.id, other.id).status == FileStatus.FAILED
    assert (spender.only.used, spender.only.reserved) == (19, 0)

    with pool.connection() as connection:
        change_budget(connection, client.organisation, budget.id, {"stop_at": Decimal(100)})
    assert client.ended(client.attach(store, other)).state == JobState.SUCCEEDED
    assert (spender.only.used, spender.only.reserved) == (sum_of_tokens(client), 0)


def sum_of_tokens(client: LocalClient) -> int:
    return sum(int(str(quantity)) for _, kind, _, _, quantity, _ in used(client) if kind == "embedding")
