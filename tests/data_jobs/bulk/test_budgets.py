"""A bulk ingest writes the documents that a budget covers, and names the budget that refused the others."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.budgets.budgets import budgets_of
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.stores import VectorStore
from cluster.jobs.command_job import CommandJob
from cluster.jobs.kinds import INGEST
from cluster.jobs.queue import JobRequest
from cluster.settings import Settings
from data_jobs.bulk.budget_renewal import renewed_reservations
from data_jobs.bulk.plan import make_plan
from data_jobs.bulk.report import IngestReport
from data_jobs.bulk.target_store import DEFAULTS, target_store
from data_jobs.sources import list_sources
from data_jobs.stages import budget as stage_budget
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.compare import Compare
from data_jobs.stages.document_row import DocumentRow, to_table
from data_jobs.stages.embed import Embed
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.map_rows import map_rows
from data_jobs.stages.write import Write
from tests.cluster.budgets.spender import Spender


def ingested(
    settings: Settings, pool: ConnectionPool, store: VectorStore, folder: Path, embed: Embed
) -> IngestReport:
    """The report of a run over the folder, with the stages of the pipeline in this process, without Ray."""
    report = IngestReport()
    plan = make_plan(pool, settings, store, list_sources(str(folder), on_left_out=report.leave_out))
    request = JobRequest(kind=INGEST, input={}, total=plan.total)
    with (
        CommandJob(pool, store.organisation, request, lease_s=30) as job,
        renewed_reservations(pool, store.organisation, job.id),
    ):
        table = to_table([parsed(row, folder) for row in plan.pending])
        chunk, compare = Chunk(settings, store.fingerprint), Compare(settings, store, job=job.id)
        for stage in (chunk, Keywords(settings), compare):
            table = map_rows(stage, settings)(table)
        (budget,) = _budgets(pool, store)
        assert budget.reserved <= (budget.stop_at or 0) - budget.used
        write = Write(settings, store, job=job.id, pipeline_version="1")
        results = write(embed(table)).to_pylist()
        for result in [*plan.settled, *results]:
            report.add(result)
    return report


def parsed(row: DocumentRow, folder: Path) -> DocumentRow:
    """The row as the stages that read and parse leave it, without the process of the parser."""
    text = (folder / Path(row["source"]).name).read_text()
    hash = sha256(text.encode()).hexdigest()
    return {
        **row,
        "page_texts": [text],
        "pages": 1,
        "pages_with_text": 1,
        "content_hash": hash,
        "facts": "{}",
    }


def _budgets(pool: ConnectionPool, store: VectorStore) -> Any:
    with pool.connection() as connection:
        return budgets_of(connection, store.organisation)


def test_documents_that_the_budget_does_not_cover_come_with_the_next_run(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage_budget, "KNOWN_FOR_S", 0.0)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"The heron {name} stands still. " * 3)
    (tmp_path / "short.txt").write_text("A heron.")
    ours = settings.model_copy(update={"organisation": organisation})
    store = target_store(connection, ours, "herons", DEFAULTS)
    ChunkIndexes(ours, pool).of(store).ensure(store.collection, dim=store.fingerprint.dim)
    spender = Spender(pool, organisation)
    made = spender.budget(45)
    embed = Embed(ours, store.fingerprint)
    report = ingested(
        ours, pool, store, tmp_path, embed
    )  # a long document has 20 tokens or so, the short one 5
    assert report.outcomes == {"ok": 3, "failed": 1}
    assert f"budget {made.id} allows 45 tokens a month" in report.failures[0][2]
    first = spender.only
    special = 2 * report.totals["embedded"]  # the model reads two more tokens of each chunk
    assert (first.reserved, first.used) == (0, report.totals["tokens_embedded"] + special)
    connection.execute("UPDATE budgets SET stop_at = 100 WHERE organisation = %s", [organisation])
    assert ingested(ours, pool, store, tmp_path, embed).outcomes == {"ok": 4}
    assert first.used < spender.only.used <= 100
    assert spender.only.reserved == 0
