"""A worker is killed while it inserts given vectors: every row is inserted once and counted once."""

import json
from collections.abc import Collection

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.engines.contract import Fingerprint
from cluster.jobs import queue
from cluster.jobs.kinds import BULK_INSERT_VECTORS
from cluster.settings.indexes import PGVECTOR
from tests import folder_index
from tests.data_jobs.running_consumer import LocalClient
from tests.faults.accepted_files import Home
from tests.faults.external_indexes import SIMULATED, OnPinecone
from tests.faults.test_external_index import CHANCES, holds_only
from tests.faults.worker_processes import Workers
from tests.simulators.pinecone.faults import IndexFaults
from tests.simulators.pinecone.server import PineconeServer

ROWS, DIM = 40_000, 4
#: Each thousandth row has no vector.
WRONG = range(500, ROWS, 1_000)


def submit(
    home: Home, client: LocalClient, index: str, count: int, *, wrong: Collection[int] = (), dim: int = DIM
) -> tuple[VectorStore, str]:
    """Upload rows, and submit the job that inserts them; the rows whose numbers are in ``wrong`` have no
    vector. Returns the store and the id of the job.
    """
    fingerprint = Fingerprint.of_given(dim)
    with home.pool.connection() as connection:
        new = NewStore(index=index)
        store = stores.create_store(connection, client.organisation, new, fingerprint=fingerprint)
    ChunkIndexes(home.settings, home.pool).of(store).ensure(store.collection, dim=dim)
    lines = [
        {"id": f"row-{number}", "vector": None if number in wrong else [1.0, number, *[-1.0] * (dim - 2)]}
        for number in range(1, count + 1)
    ]
    file = client.upload("rows.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    with home.pool.connection() as connection:
        input = {"vector_store": store.id, "file": file.id}
        return store, queue.submit(connection, client.organisation, BULK_INSERT_VECTORS, input).id


def test_each_row_is_inserted_once_though_the_worker_is_killed_twice(home: Home, workers: Workers) -> None:
    client = home.client()
    store, job = submit(home, client, PGVECTOR, ROWS, wrong=WRONG)

    def position() -> int:
        found = home.ask("SELECT position FROM bulk_inserts WHERE job = %s", job)
        return int(found[0][0]) if found else 0

    for least in (1_000, 8_000):
        home.until(lambda least=least: position() >= least, "some rows")  # type: ignore[misc]
        at_work = workers.of(client.job(job).worker)
        assert at_work is not None
        at_work.kill()
        assert position() < ROWS, "the job was too fast to be killed"
    ended = client.ended(job)
    assert (ended.state, ended.attempt) == ("succeeded", 3), ended.error
    result = ended.result or {}
    counted = {name: result[name] for name in ("rows", "written", "unchanged", "failed")}
    assert counted == {"rows": ROWS, "written": ROWS - len(WRONG), "unchanged": 0, "failed": len(WRONG)}
    assert result["failures"]["dimension"]["first_rows"] == list(WRONG)
    place = (client.organisation, store.id)
    index = ChunkIndexes(home.settings, home.pool).of(store)
    assert index.count(*place, collection=store.collection) == ROWS - len(WRONG)
    named = home.ask("SELECT sha256 FROM files WHERE id = %s", result["error_file"])[0][0]
    errors = [json.loads(line) for line in client.blobs.read(client.organisation, named).splitlines()]
    assert [error["row"] for error in errors] == list(WRONG)


def test_rows_reach_pinecone_once_though_it_fails_and_the_worker_is_killed(
    home: Home, workers: Workers, pinecone: PineconeServer
) -> None:
    outside, client = OnPinecone(pinecone, workers), home.client()
    pinecone.traffic.clear()
    pinecone.faults = IndexFaults(chances=CHANCES, seed=5)
    store, job = submit(home, client, SIMULATED, 2_000, wrong=range(100, 2_000, 200), dim=384)
    outside.kill_at("upsert", 2)
    ended = client.ended(job)
    assert (ended.state, ended.attempt) == ("succeeded", 2), ended.error
    outside.recover()
    result = ended.result or {}
    assert (result["rows"], result["written"], result["failed"]) == (2_000, 1_990, 10)
    assert result["failures"]["dimension"]["first_rows"] == list(range(100, 2_000, 200))
    holds_only(home, store, {f"row-{number}" for number in range(1, 2_001) if number % 200 != 100})
    assert pinecone.traffic.overruns == []


def test_rows_reach_an_index_outside_postgres_though_the_worker_is_killed(
    home: Home, workers: Workers
) -> None:
    folder_index.behave(home.settings, failing_writes=2, killed_at="upsert", refused_ending="7")
    client = home.client()
    store, job = submit(home, client, folder_index.NAME, 2_000)
    ended = client.ended(job)
    assert (ended.state, ended.attempt) == ("succeeded", 2), ended.error
    result = ended.result or {}
    assert (result["rows"], result["failed"], result["failures"]["index"]["rows"]) == (2_000, 200, 200)
    assert result["failures"]["index"]["first_rows"][:3] == [7, 17, 27]
    place = (client.organisation, store.id)
    index = ChunkIndexes(home.settings, home.pool).of(store)
    assert index.count(*place, collection=store.collection) == 1_800
    assert index.external is not None
    assert index.external.count(*place, collection=index.collection(store.collection)) == 1_800
    folder_index.behave(home.settings)
