"""Stores are copied to and from Pinecone, although requests fail."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.doctor.index_parts import indexes as check_indexes
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores import stores
from cluster.errors import Conflict, NotFound
from cluster.retrying import Backoff
from cluster.settings import Settings
from cluster.settings.indexes import IndexSource
from cluster.vector_index import PINECONE
from cluster.vector_index.pinecone import requests
from data_jobs.copy_store import copy_store
from data_jobs.export_store import export_store
from data_jobs.import_store import import_store
from tests.conftest import ROOT
from tests.data_jobs.transfer.conftest import Fill, contents
from tests.data_jobs.transfer.test_copy_store import counted
from tests.keys_in_output import marked_key
from tests.simulators.pinecone.faults import IndexFault, IndexFaults
from tests.simulators.pinecone.server import PineconeServer, simulator

#: A fifth of the requests fails, and a twentieth fails although it was carried out.
CHANCES = {IndexFault.BUSY: 0.1, IndexFault.UNAVAILABLE: 0.1, IndexFault.APPLIED_500: 0.05}
KEY = marked_key("pcsk_")


@pytest.fixture(scope="module")
def pinecone() -> Iterator[PineconeServer]:
    with pytest.MonkeyPatch.context() as patch, simulator(dim=3) as server:
        patch.setenv("PINECONE_API_KEY", KEY)
        patch.setattr(requests, "BACKOFF", Backoff(first_s=0.01, longest_s=0.1, jitter=True))
        server.service.storage.delay_s = 0.01
        yield server
        assert server.complaints == []
        assert server.traffic.overruns == []


@pytest.fixture
def here(here: Settings, pinecone: PineconeServer) -> Settings:
    source = IndexSource(kind=PINECONE, host=pinecone.url)
    return here.model_copy(update={"indexes": {"simulated": source}})


def test_an_index_for_vectors_of_another_length_is_refused_before_a_store_is_made(
    connection: Connection[Any], here: Settings, fill: Fill, tmp_path: Path
) -> None:
    fill("a")
    path = str(tmp_path / "a.parquet")
    export_store(here, "a", path)
    with simulator(dim=4) as other:
        wrong = here.model_copy(update={"indexes": {"simulated": IndexSource(kind=PINECONE, host=other.url)}})
        by_default = wrong.model_copy(update={"vector_index": "simulated"})
        for attempt in (
            lambda: copy_store(wrong, "a", "b", index="simulated"),
            lambda: copy_store(by_default, "a", "b"),
            lambda: import_store(wrong, path, "b", index="simulated"),
            lambda: import_store(by_default, path, "b"),
        ):
            with pytest.raises(Conflict, match=r"has the dimension 4.* needs 3"):
                attempt()
    with pytest.raises(NotFound):
        stores.find_store(connection, here.organisation, "b")


def test_a_copy_onto_pinecone_that_is_killed_goes_on_while_pinecone_fails(
    connection: Connection[Any],
    pool: ConnectionPool,
    here: Settings,
    indexes: ChunkIndexes,
    fill: Fill,
    pinecone: PineconeServer,
) -> None:
    source = fill("a", documents=26, chunks=60)
    environment = {
        "CLUSTER_HOME": str(here.home),
        "CLUSTER_ORGANISATION": here.organisation,
        "CLUSTER_INDEXES": f'{{"simulated": {{"kind": "pinecone", "host": "{pinecone.url}"}}}}',
        "CLUSTER_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "data_jobs.copy_store", "--from", "a", "--to", "b", "--index", "simulated"],
        cwd=ROOT,
        env={**os.environ, **environment},
    )

    def kill_before_given_vectors(operation: str, body: dict[str, Any], port: int) -> None:
        del port
        if operation == "upsert" and body["vectors"][0]["id"].startswith("row"):
            process.kill()

    pinecone.before = kill_before_given_vectors
    assert process.wait() == -signal.SIGKILL
    pinecone.before, pinecone.faults = None, IndexFaults(chances=CHANCES, seed=7)
    assert counted(copy_store(here, "a", "b")) == (1_566, 3, 1_563, 0, True)
    target = stores.find_store(connection, here.organisation, "b")
    assert contents(indexes, target) == contents(indexes, source)
    external, place = indexes.of(target).external, (target.organisation, target.id)
    assert external is not None
    collection = indexes.of(target).collection(target.collection)
    assert len({id for page in external.ids(*place, collection=collection) for id in page}) == 1_566
    assert counted(copy_store(here, "b", "c", index="pgvector")) == (1_566, 1_566, 0, 0, True)
    assert contents(indexes, stores.find_store(connection, here.organisation, "c")) == contents(
        indexes, source
    )
    assert pinecone.faults.counts.total() > 4
    with simulator(dim=4) as other:  # the host in the settings is that of another index
        wrong = {"simulated": IndexSource(kind=PINECONE, host=other.url)}
        check = check_indexes(here.model_copy(update={"indexes": wrong}), pool)
    assert (check.fine, "has the dimension 4" in check.says) == (False, True)
