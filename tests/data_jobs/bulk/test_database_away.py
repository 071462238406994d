"""A process of a stage that starts while the database is away waits for it, and its ingest goes on."""

from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import open_pool
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.bulk.target_store import DEFAULTS, target_store
from data_jobs.stages import database_retry, process_resources
from data_jobs.stages.document_row import new_row, to_table
from data_jobs.stages.map_rows import failed
from data_jobs.stages.write import Write
from tests.conftest import free_ports


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of each attempt to connect; the first attempt finds no server."""
    attempts: list[Settings] = []

    def opened(settings: Settings, **options: Any) -> ConnectionPool:
        attempts.append(settings)
        ((closed,),) = (free_ports(1),)
        url = SecretStr(f"postgresql://nobody@127.0.0.1:{closed}/none")
        first = len(attempts) == 1
        return open_pool(settings.model_copy(update={"database_url": url}) if first else settings, **options)

    monkeypatch.setattr(process_resources, "open_pool", opened)
    monkeypatch.setattr(database_retry, "WAITS_S", (0.01,))
    for cached in (process_resources.pool, process_resources.chunk_indexes):
        cached.cache_clear()
    return attempts


def test_the_stage_that_writes_waits_for_the_database(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    away: list[Settings],
) -> None:
    ours = settings.model_copy(update={"organisation": organisation})
    store = target_store(connection, ours, "herons", DEFAULTS)
    ChunkIndexes(ours, pool).of(store).ensure(store.collection, dim=store.fingerprint.dim)
    row = failed(new_row("heron", "heron.pdf", "1"), Outcome.EMPTY, "it has no text")
    (result,) = Write(ours, store, job="job_1", pipeline_version="1")(to_table([row])).to_pylist()
    assert (result["outcome"], result["source"]) == ("empty", "heron.pdf")
    assert len(away) == 2
