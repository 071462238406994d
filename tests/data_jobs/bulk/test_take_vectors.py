"""Documents pass through the stages twice: vectors are asked for, and taken from the answers of a batch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.provider_batches import provider_batches as records
from cluster.documents.vector_stores.stores import VectorStore
from cluster.jobs.command_job import CommandJob
from cluster.jobs.kinds import INGEST
from cluster.jobs.queue import JobRequest
from cluster.settings import Settings
from data_jobs.bulk import provider_batches as loop
from data_jobs.bulk.plan import make_plan
from data_jobs.bulk.provider_batches import provider_batches
from data_jobs.bulk.report import IngestReport
from data_jobs.bulk.target_store import IngestOptions, target_store
from data_jobs.sources import list_sources
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.compare import Compare
from data_jobs.stages.document_row import DocumentRow, to_table
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.map_rows import map_rows
from data_jobs.stages.parse import Parse
from data_jobs.stages.read import Read
from data_jobs.stages.take_vectors import TakeVectors
from data_jobs.stages.write import Write
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_settings
from tests.simulators.openai import Provider, simulator, vector_of

MODEL = "remote"


def test_an_edited_and_a_refused_document_cost_no_other_one(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "FIRST_POLL_S", 0.01)
    monkeypatch.setenv(KEY_ENV, KEY)
    files = {name: tmp_path / f"{name}.txt" for name in ("kept", "edited", "refused")}
    for name, file in files.items():
        file.write_text(f"The heron that is {name} stands still. ")
    kept, before, refused = (file.read_text() for file in files.values())
    after = "The heron has flown away."
    with simulator(Provider(keys={KEY}), batches=True) as server:
        assert server.batch_api is not None
        server.batch_api.refused.add(refused)
        server.observe = lambda request: (
            files["edited"].write_text(after) if request.endswith("/batches") else None
        )
        ours = remote_settings(settings, server.url, name=MODEL).model_copy(
            update={"organisation": organisation}
        )
        store = target_store(connection, ours, "herons", IngestOptions(model=MODEL))
        ChunkIndexes(ours, pool).of(store).ensure(store.collection, dim=store.fingerprint.dim)
        report = ingested(ours, pool, store, tmp_path)
        assert report.outcomes == {"ok": 2, "failed": 1}
        assert report.failures[0][2] == (
            "embedding failed: 127.0.0.1 refuses the input with HTTP 400 (The input is refused.)"
        )
        assert server.batch_api.billed == Counter([kept, before, after])
        assert vectors(ours, pool, store) == [vector_of(text, 1_536) for text in sorted([kept, after])]
        assert records.asking_documents(connection, store) == set()
        # A later run asks only for the document that failed.
        server.batch_api.refused.clear()
        assert ingested(ours, pool, store, tmp_path).outcomes == {"ok": 3}
        assert server.batch_api.billed == Counter([kept, before, after, refused])


def ingested(settings: Settings, pool: ConnectionPool, store: VectorStore, folder: Path) -> IngestReport:
    """Return the report of a run over the folder, with the stages in the order of the pipeline, but without
    Ray.
    """
    report = IngestReport()
    plan = make_plan(pool, settings, store, list_sources(str(folder), on_left_out=report.leave_out))
    request = JobRequest(kind=INGEST, input={}, total=plan.total)
    with (
        CommandJob(pool, store.organisation, request, lease_s=30) as job,
        provider_batches(settings, pool, store, report) as batches,
    ):

        def run(rows: Sequence[DocumentRow]) -> Iterator[dict[str, Any]]:
            table = to_table(rows)
            before = (Read(settings), Parse(settings), Chunk(settings, store.fingerprint))
            for stage in (*before, Keywords(settings), Compare(settings, store, job=job.id)):
                table = map_rows(stage, settings)(table)
            write = Write(settings, store, job=job.id, pipeline_version="1")
            yield from write(TakeVectors(settings, store)(table)).to_pylist()

        for result in [*plan.settled, *batches.results(plan.pending, run)]:
            report.add(result)
    return report


def vectors(settings: Settings, pool: ConnectionPool, store: VectorStore) -> list[Any]:
    """Return the stored vectors, in the order of their texts."""
    rows = (
        ChunkIndexes(settings, pool).of(store).scan(store.organisation, store.id, collection=store.collection)
    )
    return [pytest.approx(row.vector, abs=1e-3) for row in sorted(rows, key=lambda row: row.text)]
