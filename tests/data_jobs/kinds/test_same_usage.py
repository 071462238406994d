"""The same work costs the same, whether it comes over HTTP, by a job, by a batch or by a bulk ingest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pymupdf
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import ClusterError
from cluster.settings import Settings
from data_jobs.bulk.plan import make_plan
from data_jobs.sources import list_sources
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.compare import Compare
from data_jobs.stages.document_row import to_table
from data_jobs.stages.embed import Embed
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.map_rows import map_rows
from data_jobs.stages.parse import Parse
from data_jobs.stages.pipeline_version import pipeline_version
from data_jobs.stages.read import Read
from data_jobs.stages.write import Write
from serve_app.routes.batch_requests import answer_requests
from tests.conftest import new_organisation
from tests.data_jobs.batch_client import MODEL, BatchClient, request
from tests.data_jobs.running_consumer import consuming
from tests.serve_app.conftest import Server, serving
from tests.waiting import LONGEST_WAIT_S, until

PARAGRAPHS = [
    f"The operator of plant {n} may stop pump {n * 7}. Herons watch the weir. " * 15 for n in range(3)
]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a PDF of two pages, a text and a page of Markdown."""
    folder = tmp_path_factory.mktemp("documents")
    with pymupdf.open() as pdf:
        for text in PARAGRAPHS[:2]:
            pdf.new_page().insert_textbox((40, 40, 550, 800), text[:2_000])
        pdf.save(folder / "plants.pdf")
    (folder / "plants.txt").write_text("\n\n".join(PARAGRAPHS))
    (folder / "plants.md").write_text("# Plants\n\n" + PARAGRAPHS[2])
    return folder


@pytest.fixture(scope="module")
def own(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server of an organisation that no other test uses."""
    with serving(settings.model_copy(update={"organisation": new_organisation(pool)})) as server:
        yield server


def test_documents_cost_the_same_on_every_path(own: Server, pool: ConnectionPool, documents: Path) -> None:
    settings, organisation = own.service.settings, own.service.settings.organisation
    client = BatchClient(settings, pool, own.service.models.default.engine, organisation)
    ingested = client.store()
    ingest(client, ingested, documents)

    async def answer(lines: list[bytes], **options: Any) -> list[Any | ClusterError]:
        return await answer_requests(own.service, lines, **options)

    with (
        consuming(settings, pool, client.engine, answer=answer),
        httpx.Client(base_url=own.url, timeout=LONGEST_WAIT_S) as http,
    ):
        files = [
            http.post(
                "/v1/files", files={"file": (path.name, path.read_bytes())}, data={"purpose": "assistants"}
            )
            for path in sorted(documents.iterdir())
        ]
        attached, submitted = (http.post("/v1/vector_stores", json={}).json()["id"] for _ in range(2))
        jobs: dict[str, list[str]] = {attached: [], submitted: []}
        for file in files:
            about = {"file_id": file.json()["id"]}
            answered = http.post(f"/v1/vector_stores/{attached}/files", json=about).json()
            jobs[attached].append(answered["job_id"])
            wish = {"kind": "index_file", "input": {**about, "vector_store_id": submitted}}
            jobs[submitted].append(http.post("/v1/jobs", json=wish).json()["id"])
        for job in (*jobs[attached], *jobs[submitted]):
            assert client.ended(job).state == "succeeded"
        with pool.connection() as connection:
            texts = texts_of(connection, ingested)
        for text in texts:
            assert http.post("/v1/embeddings", json={"model": MODEL, "input": text}).status_code == 200
        client.ended_batch(client.create([request(str(n), text) for n, text in enumerate(texts)]).id)
    by_ingest = used(pool, organisation, "ingest")
    assert by_ingest["page"] == 4
    assert by_ingest["chunk"] == len(texts) > 3
    assert by_ingest == used(pool, organisation, "job", jobs[attached])
    assert by_ingest == used(pool, organisation, "job", jobs[submitted])
    in_batch = used(pool, organisation, "batch")
    assert in_batch == {"embedding": by_ingest["embedding"], "request": len(texts)}
    expected = by_ingest["embedding"]
    over_http = until(
        lambda: used(pool, organisation, "http").get("embedding", 0), lambda tokens: bool(tokens >= expected)
    )
    assert over_http == expected


def ingest(client: BatchClient, store: VectorStore, documents: Path) -> None:
    """Call the stages of a bulk ingest one after the other, in place of Ray."""
    settings, model = client.settings, store.fingerprint
    plan = make_plan(client.pool, settings, store, list_sources(str(documents), on_left_out=print))
    table = to_table(plan.pending)
    for stage in (
        Read(settings),
        Parse(settings),
        Chunk(settings, model),
        Keywords(settings),
        Compare(settings, store, job="job_ingest"),
    ):
        table = map_rows(stage, settings)(table)
    table = Embed(settings, model, organisation=store.organisation)(table)
    version = pipeline_version(settings, model)
    results = Write(settings, store, job="job_ingest", pipeline_version=version)(table)
    assert results["outcome"].to_pylist() == ["ok"] * 3


def texts_of(connection: Connection[Any], store: VectorStore) -> list[str]:
    """The texts of the chunks in the store."""
    rows = connection.execute(
        f"SELECT text FROM vectors_{store.collection} WHERE organisation = %s AND vector_store = %s",
        [store.organisation, store.id],
    )
    return [text for (text,) in rows]


def used(
    pool: ConnectionPool, organisation: str, source: str, jobs: list[str] | None = None
) -> dict[str, int]:
    """The usage from this source, by kind."""
    with pool.connection() as connection:
        rows = connection.execute(
            "SELECT kind, sum(quantity)::bigint FROM usage_events WHERE organisation = %s AND source = %s"
            " AND (%s::text[] IS NULL OR job = ANY(%s)) GROUP BY kind",
            [organisation, source, jobs, jobs],
        )
        return dict(rows.fetchall())
