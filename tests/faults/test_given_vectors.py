"""A worker is killed while it inserts given vectors: every row is inserted once and counted once."""

import json

import pytest

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.stores import NewStore
from cluster.engines.contract import Fingerprint
from cluster.jobs import queue
from cluster.jobs.kinds import BULK_INSERT_VECTORS
from tests import folder_index
from tests.faults.accepted_files import Home
from tests.faults.worker_processes import Workers

pytestmark = pytest.mark.timeout(120)

ROWS, DIM = 40_000, 4
#: Each thousandth row has no vector.
WRONG = range(500, ROWS, 1_000)


def test_each_row_is_inserted_once_though_the_worker_is_killed_twice(home: Home, workers: Workers) -> None:
    client = home.client()
    fingerprint = Fingerprint.of_given(DIM)
    with home.pool.connection() as connection:
        store = stores.create_store(connection, client.organisation, NewStore(), fingerprint=fingerprint)
    index = ChunkIndexes(home.settings, home.pool).of(store)
    index.ensure(store.collection, dim=DIM)
    lines = [
        {"id": f"row-{number}", "vector": None if number in WRONG else [1.0, number, 0.0, -1.0]}
        for number in range(1, ROWS + 1)
    ]
    file = client.upload("rows.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    with home.pool.connection() as connection:
        input = {"vector_store": store.id, "file": file.id}
        job = queue.submit(connection, client.organisation, BULK_INSERT_VECTORS, input)

    def position() -> int:
        found = home.ask("SELECT position FROM bulk_inserts WHERE job = %s", job.id)
        return int(found[0][0]) if found else 0

    for least in (2_000, 14_000):
        home.until(lambda least=least: position() >= least, "some rows")  # type: ignore[misc]
        at_work = workers.of(client.job(job.id).worker)
        assert at_work is not None
        at_work.kill()
        assert position() < ROWS, "the job was too fast to be killed"
    ended = client.ended(job.id)
    assert (ended.state, ended.attempt) == ("succeeded", 3), ended.error
    result = ended.result or {}
    counted = {name: result[name] for name in ("rows", "written", "unchanged", "failed")}
    assert counted == {"rows": ROWS, "written": ROWS - len(WRONG), "unchanged": 0, "failed": len(WRONG)}
    assert result["failures"]["dimension"]["first_rows"] == list(WRONG)
    place = (client.organisation, store.id)
    assert index.count(*place, collection=store.collection) == ROWS - len(WRONG)
    named = home.ask("SELECT sha256 FROM files WHERE id = %s", result["error_file"])[0][0]
    errors = [json.loads(line) for line in client.blobs.read(client.organisation, named).splitlines()]
    assert [error["row"] for error in errors] == list(WRONG)


def test_rows_reach_an_index_outside_postgres_though_the_worker_is_killed(
    home: Home, workers: Workers
) -> None:
    folder_index.behave(home.settings, failing_writes=2, killed_at="upsert", refused_ending="7")
    client = home.client()
    with home.pool.connection() as connection:
        store = stores.create_store(
            connection,
            client.organisation,
            NewStore(index=folder_index.NAME),
            fingerprint=Fingerprint.of_given(DIM),
        )
    index = ChunkIndexes(home.settings, home.pool).of(store)
    index.ensure(store.collection, dim=DIM)
    lines = [{"id": f"row-{number}", "vector": [1.0, number, 0.0, -1.0]} for number in range(1, 2_001)]
    file = client.upload("rows.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    with home.pool.connection() as connection:
        input = {"vector_store": store.id, "file": file.id}
        job = queue.submit(connection, client.organisation, BULK_INSERT_VECTORS, input)
    ended = client.ended(job.id)
    assert (ended.state, ended.attempt) == ("succeeded", 2), ended.error
    result = ended.result or {}
    assert (result["rows"], result["failed"], result["failures"]["index"]["rows"]) == (2_000, 200, 200)
    assert result["failures"]["index"]["first_rows"][:3] == [7, 17, 27]
    place = (client.organisation, store.id)
    assert index.count(*place, collection=store.collection) == 1_800
    assert index.external is not None
    assert index.external.count(*place, collection=index.collection(store.collection)) == 1_800
    folder_index.behave(home.settings)
