"""The embed stage on the real model, with the prompt that some models expect before each document."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.engines import ProviderEngine, Registry, describe, open_engine
from cluster.engines.openai import requests
from cluster.engines.weights import PROMPTS_FILE, open_model_folder
from cluster.errors import Conflict, Misconfigured, Unavailable
from cluster.settings import Settings
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.document_row import new_row, to_rows, to_table, unpack
from data_jobs.stages.embed import MAX_ATTEMPTS, Embed, TokenIds
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_settings
from tests.simulators.openai import Fault, simulator, vector_of
from tests.simulators.openai.faults import Faults

SWIFTS = "Swifts sleep on the wing."
TEXT = "Herons stand still for hours before they strike. " * 60


def test_documents_are_embedded_behind_the_models_prompt_and_chunks_leave_room_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(open_model_folder(Registry(Settings()).default).path, folder)
    (folder / PROMPTS_FILE).write_text(json.dumps({"prompts": {"query": "query: ", "passage": "passage: "}}))
    settings = Settings(model_path=folder)
    row = {**new_row("doc_1", "file:///birds.txt", ""), "page_texts": [TEXT]}
    chunked = Chunk(settings, describe(Registry(settings).default))(row)  # type: ignore[arg-type]
    (embedded,) = to_rows(Embed(settings, describe(Registry(settings).default))(to_table([chunked])))
    chunks = unpack(chunked)
    vectors = np.frombuffer(embedded["vectors"], np.float32).reshape(len(chunks), -1)
    expected = open_engine(Registry(settings).default).embed(
        [f"passage: {text}" for text in chunks["text"].to_pylist()]
    )
    assert len(chunks) > 1
    assert expected.truncated.sum() == 0
    assert np.allclose(vectors, expected.vectors, atol=1e-5)
    assert describe(Registry(settings).default).id != describe(Registry(Settings()).default).id


def one_row(settings: Settings) -> pa.Table:
    """A table with one document of one chunk."""
    row = {**new_row("doc_1", "file:///birds.txt", ""), "page_texts": [SWIFTS]}
    return to_table([Chunk(settings, describe(Registry(settings).default))(row)])  # type: ignore[arg-type]


class Lost:
    """An engine whose first calls fail."""

    def __init__(self, calls: int) -> None:
        self.engine, self.calls = open_engine(Registry(Settings()).default), calls

    def embed_ids(self, ids: TokenIds) -> NDArray[np.float32]:
        self.calls -= 1
        if self.calls >= 0:
            raise Unavailable("the GPU does not compute any more", retry_after_s=0.01)
        return self.engine.embed_ids(ids)


def test_an_engine_that_fails_for_a_moment_is_called_again() -> None:
    stage = Embed(Settings(), describe(Registry(Settings()).default))
    stage.engine = Lost(MAX_ATTEMPTS - 1)  # type: ignore[assignment]
    (row,) = to_rows(stage(one_row(Settings())))
    assert (row["outcome"], len(row["vectors"])) == ("ok", 384 * 4)


def test_a_lost_engine_ends_the_run_and_never_becomes_the_outcome_of_a_document() -> None:
    stage = Embed(Settings(), describe(Registry(Settings()).default))
    stage.engine = Lost(1_000)  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        stage(one_row(Settings()))


def test_a_node_without_the_stores_model_computes_nothing_for_it() -> None:
    ours = describe(Registry(Settings()).default)
    with pytest.raises(Conflict, match=f"node .*vectors of another@.*no model named another.*{ours.model}"):
        Embed(Settings(), replace(ours, model="another"))
    other = replace(ours, revision="0" * 12)
    with pytest.raises(Conflict, match=f"node .*vectors of {other.id}.*computes those of {ours.id}"):
        Embed(Settings(), other)


def test_a_provider_is_waited_for_and_its_organisation_pays(
    settings: Settings, pool: ConnectionPool, organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setattr(requests, "LONGEST_PAUSE_S", 0.5)
    with simulator() as server:
        remote = remote_settings(settings, server.url, name=f"bulk-{uuid4().hex[:8]}")
        entry = Registry(remote).entries[next(reversed(remote.models))]
        stage = Embed(remote, describe(entry), organisation=organisation)
        assert isinstance(stage.engine, ProviderEngine)
        server.faults = Faults([Fault.BUSY_WITH_RETRY_AFTER] * 4)  # more often than a local engine is called
        row = {**new_row("doc_1", "file:///birds.txt", ""), "page_texts": [SWIFTS]}
        table = to_table([Chunk(remote, describe(entry))(row)])  # type: ignore[arg-type]
        (embedded,) = to_rows(stage(table))
        vector = np.frombuffer(embedded["vectors"], np.float32)
        np.testing.assert_allclose(vector, vector_of(SWIFTS, 1_536), atol=1e-6)
        server.faults = Faults([Fault.NO_MONEY])
        with pytest.raises(Misconfigured, match="money or quota"):
            stage(table)
        stage.engine.close()
    with pool.connection() as connection:
        paid = connection.execute(
            "SELECT count(*) FROM usage_events WHERE organisation = %s", [organisation]
        ).fetchone()
    assert paid == (1,)
