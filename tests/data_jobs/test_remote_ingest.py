"""A bulk ingest on a provider's model: the simulator over TCP, real Postgres and Ray."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import VectorStore, find_store
from cluster.local.environment import settings_variables
from cluster.settings import Settings
from data_jobs.bulk import provider_batches
from data_jobs.ingest import EXIT_USAGE, main
from tests.cluster.engines.openai.remote_models import remote_settings
from tests.simulators.openai import Limits, Provider, simulator, vector_of

pytestmark = [pytest.mark.launch, pytest.mark.usefixtures("ray_cluster")]

DOCUMENTS = 24
MODEL = "remote"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents of one chunk each."""
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in range(DOCUMENTS):
        (folder / f"{number:02}.txt").write_text(f"Heron number {number} stands still for hours. " * 20)
    return folder


def variables(settings: Settings, url: str, organisation: str, **options: Any) -> dict[str, str]:
    """The environment of a command that knows a model at the simulator."""
    own = {"log_level": "ERROR", "organisation": organisation}
    remote = remote_settings(settings.model_copy(update=own), url, name=MODEL, key_env=None, **options)
    return settings_variables(remote)


def assert_each_chunk_has_its_vector(
    settings: Settings,
    pool: ConnectionPool,
    store: VectorStore,
) -> None:
    """The store has the provider's vector of each chunk."""
    rows = list(
        open_chunk_index(settings, pool).scan(store.organisation, store.id, collection=store.collection)
    )
    assert len(rows) == DOCUMENTS
    for row in rows:
        assert row.vector is not None
        sent = Path(row.attributes["source"].removeprefix("file://")).read_text()
        np.testing.assert_allclose(row.vector, vector_of(sent, 1_536), atol=1e-3)


def used(connection: Connection[Any], organisation: str, kind: str) -> int:
    """Tokens in the organisation's usage events of this kind."""
    row = connection.execute(
        "SELECT coalesce(sum(quantity), 0) FROM usage_events WHERE organisation = %s AND kind = %s",
        [organisation, kind],
    ).fetchone()
    return int(row[0]) if row else 0


def test_a_killed_ingest_goes_on_where_it_was_within_the_budget(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = Limits(requests=3_000, tokens=400_000)
    with simulator(Provider(limits=limits), latency_s=0.3) as server:
        budget = {"requests_per_minute": limits.requests, "tokens_per_minute": limits.tokens}
        environment = variables(settings, server.url, organisation, **budget)
        command = [str(folder), "--vector-store", "herons", "--model", MODEL, "--json"]
        address = ray.get_runtime_context().gcs_address
        driver = subprocess.Popen(
            [sys.executable, "-m", "data_jobs.ingest", *command],
            env={**os.environ, **environment, "RAY_ADDRESS": address},
        )
        while (written := documents(connection, organisation)) < 1:
            assert driver.poll() is None
            time.sleep(0.02)
        driver.kill()
        driver.wait()
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        time.sleep(1)  # the tasks of the killed driver end
        written = documents(connection, organisation)
        assert written < DOCUMENTS, "the run ended before it was killed"
        answered = sum(server.provider.answered_tokens.values())
        before = used(connection, organisation, "provider_embedding")
        assert main(command) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["embedded"] == DOCUMENTS - written
        # The provider's report of the second run is recorded exactly, and no token is counted twice as work.
        new = sum(server.provider.answered_tokens.values()) - answered
        assert used(connection, organisation, "provider_embedding") - before == new
        assert used(connection, organisation, "embedding") == summary["tokens"]
        assert server.provider.over_limit == 0
        store = find_store(connection, organisation, "herons")
        assert_each_chunk_has_its_vector(settings, pool, store)


def documents(connection: Connection[Any], organisation: str) -> int:
    """Number of documents that are written."""
    row = connection.execute(
        "SELECT count(*) FROM documents WHERE organisation = %s", [organisation]
    ).fetchone()
    return int(row[0]) if row else 0


def test_a_provider_batch_embeds_each_chunk_once_at_half_the_price(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provider_batches, "FIRST_POLL_S", 0.05)
    monkeypatch.setattr(provider_batches, "LONGEST_POLL_S", 0.05)
    with simulator(batches=True) as server:
        assert server.batch_api is not None
        for name, value in variables(settings, server.url, organisation).items():
            monkeypatch.setenv(name, value)
        command = [str(folder), "--vector-store", "herons", "--model", MODEL, "--index", "pgvector"]
        assert main([*command, "--provider-batch", "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["embedded"] == DOCUMENTS
        store = find_store(connection, organisation, "herons")
        assert_each_chunk_has_its_vector(settings, pool, store)
        assert server.batch_api.billed == Counter(path.read_text() for path in folder.iterdir())
        assert server.provider.accepted == []  # nothing was embedded at the usual price
        assert used(connection, organisation, "provider_embedding") == server.batch_api.billed_tokens
        assert used(connection, organisation, "embedding") == summary["tokens_embedded"]
        left = connection.execute("SELECT id FROM provider_batch_inputs WHERE vector_store = %s", [store.id])
        assert left.fetchall() == []


def test_a_refused_key_ends_the_run_with_the_sentence_that_names_the_key(
    settings: Settings,
    organisation: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with simulator(Provider(keys={"sk-another"})) as server:
        for name, value in variables(settings, server.url, organisation).items():
            monkeypatch.setenv(name, value)
        assert main([str(folder), "--vector-store", "herons", "--model", MODEL]) == EXIT_USAGE
        (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        assert "HTTP 401" in error
        assert error.endswith("set a valid key")
        assert len(server.provider.accepted) == 0
