"""The job that inserts a file of given vectors: every row is inserted or named, once, whatever happens."""

import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.files import File, get_file
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.engines import Engine, Registry, open_engine
from cluster.engines.contract import Fingerprint
from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState
from cluster.jobs.kinds import BULK_INSERT_VECTORS
from cluster.settings import Settings
from data_jobs.kinds.batch_size import BatchSize
from tests.data_jobs.running_consumer import LocalClient, consuming

DIM = 8
Row = dict[str, Any]


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.fixture(scope="module", autouse=True)
def consumer(settings: Settings, pool: ConnectionPool, engine: Engine) -> Iterator[None]:
    with consuming(settings, pool, engine):
        yield


@pytest.fixture
def client(settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str) -> LocalClient:
    return LocalClient(settings, pool, engine, organisation)


def given_store(client: LocalClient, **options: Any) -> VectorStore:
    """A store without a model."""
    fingerprint = Fingerprint.of_given(DIM)
    with client.pool.connection() as connection:
        store = stores.create_store(
            connection, client.organisation, NewStore(**options), fingerprint=fingerprint
        )
    index_of(client, store).ensure(store.collection, dim=DIM)
    return store


def index_of(client: LocalClient, store: VectorStore) -> ChunkIndex:
    return ChunkIndexes(client.settings, client.pool).of(store)


def insert(client: LocalClient, store: VectorStore, data: bytes) -> Job:
    """Upload the file, submit the job, and return the ended job."""
    return insert_file(client, store, client.upload("rows", data))


def insert_file(client: LocalClient, store: VectorStore, file: File) -> Job:
    """Submit the job for an uploaded file, and return the ended job."""
    with client.pool.connection() as connection:
        job = queue.submit(
            connection,
            client.organisation,
            BULK_INSERT_VECTORS,
            {"vector_store": store.id, "file": file.id},
            subject=store.id,
        )
    return client.ended(job.id)


def rows(count: int) -> list[Row]:
    chance = np.random.default_rng(1)
    return [
        {
            "id": f"row-{number:05}",
            "vector": chance.normal(size=DIM).astype(np.float32).tolist(),
            "text": f"the text of row {number}",
            "attributes": {"number": number, "even": number % 2 == 0},
        }
        for number in range(1, count + 1)
    ]


def as_lines(given: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in given)


def as_parquet(given: list[Row]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(given), file, row_group_size=700)
    return file.getvalue()


def spoiled(given: list[Row]) -> dict[str, list[int]]:
    """Spoil 37 rows in six ways; returns the numbers of the rows by what is wrong with them."""
    wrong: dict[str, list[int]] = {
        "dimension": [3, 500, 501, 999, 1000, 1001, 1500],
        "not_finite": [7, 8, 9, 1499, 1501, 2100],
        "zero_length": [20, 21, 22, 23, 24, 1700],
        "text": [30, 31, 1300, 1301, 1302, 1303],
        "attributes": [40, 41, 42, 43, 1600, 1601],
        "duplicate_id": [50, 1050, 2050, 2051, 2052, 2500],
    }
    for number in wrong["dimension"]:
        given[number - 1]["vector"] = [1.0] * (DIM - 1)
    for number in wrong["not_finite"]:
        given[number - 1]["vector"] = [math.nan if number % 2 else math.inf] * DIM
    for number in wrong["zero_length"]:
        given[number - 1]["vector"] = [0.0] * DIM
    for number in wrong["text"]:
        given[number - 1]["text"] = "a\0b" if number % 2 else "x" * 300_000
    for number in wrong["attributes"]:
        given[number - 1]["attributes"] = {"number": number, "name": "x" * 600}
    for number in wrong["duplicate_id"]:
        given[number - 1]["id"] = f"row-{number - 25:05}"
    assert sum(map(len, wrong.values())) == 37
    return wrong


@pytest.mark.parametrize("write", [as_lines, as_parquet])
def test_wrong_rows_are_named_by_number_and_the_others_are_inserted(
    client: LocalClient, write: Callable[[list[Row]], bytes]
) -> None:
    store, given = given_store(client), rows(2_500)
    wrong = spoiled(given)
    job = insert(client, store, write(given))
    assert (job.state, job.unit, job.done, job.total) == (JobState.SUCCEEDED, "rows", 2_500, 2_500), job.error
    result = job.result or {}
    counts = {name: result[name] for name in ("rows", "written", "unchanged", "failed")}
    assert counts == {"rows": 2_500, "written": 2_463, "unchanged": 0, "failed": 37}
    assert {kind: found["first_rows"] for kind, found in result["failures"].items()} == wrong
    file = stored_file(client, result["error_file"])
    lines = [json.loads(line) for line in client.blobs.read(client.organisation, file.sha256).splitlines()]
    assert [line["row"] for line in lines] == sorted(number for some in wrong.values() for number in some)
    assert {line["kind"] for line in lines} == wrong.keys()
    assert (lines[0]["id"], lines[0]["message"]) == (
        "row-00003",
        "has a vector of 7 numbers; the store's vectors have 8",
    )
    place = (client.organisation, store.id)
    stored = {
        record.id: record for record in index_of(client, store).scan(*place, collection=store.collection)
    }
    bad = {number for some in wrong.values() for number in some}
    good = {row["id"]: row for number, row in enumerate(given, start=1) if number not in bad}
    assert stored.keys() == good.keys()
    one, row = stored["row-02499"], good["row-02499"]
    assert (one.text, one.attributes) == (row["text"], row["attributes"])
    assert one.vector is not None
    np.testing.assert_allclose(one.vector, np.array(row["vector"]) / np.linalg.norm(row["vector"]), rtol=1e-6)
    again = insert(client, store, write(given)).result or {}
    assert (again["written"], again["unchanged"], again["failed"]) == (0, 2_463, 37)
    with client.pool.connection() as connection:
        used = connection.execute(
            "SELECT kind, source, job, sum(quantity)::int FROM usage_events WHERE organisation = %s"
            " GROUP BY kind, source, job",
            [client.organisation],
        ).fetchall()
    assert used == [("chunk", "job", job.id, 2_463)]


def test_new_rows_without_texts_are_stored_as_they_are_given(client: LocalClient) -> None:
    store, given = given_store(client), rows(3)
    for row, id in zip(given, ["b", "ä", "a" * 512], strict=True):
        row |= {"id": id, "text": None}
    given[1]["attributes"] = {"page": "ii", "name": 'ö"\\'}
    result = insert(client, store, as_lines(given)).result or {}
    assert (result["written"], result["failed"]) == (3, 0)
    place = (client.organisation, store.id)
    stored = [*index_of(client, store).scan(*place, collection=store.collection)]
    assert [record.id for record in stored] == ["a" * 512, "b", "ä"]
    for row in given:
        (record,) = (one for one in stored if one.id == row["id"])
        assert (record.document, record.text) == (row["id"], "")
        assert {name: record.attributes[name] for name in row["attributes"]} == row["attributes"]
        assert record.vector is not None
        unit = np.array(row["vector"]) / np.linalg.norm(row["vector"])
        np.testing.assert_allclose(record.vector, unit, rtol=1e-6)


def stored_file(client: LocalClient, id: str) -> File:
    with client.pool.connection() as connection:
        return get_file(connection, client.organisation, id)


def test_a_file_that_holds_no_rows_fails_with_a_reason(client: LocalClient) -> None:
    store = given_store(client)
    table = pa.table({"id": ["a"], "values": [[1.0] * DIM]})
    file = io.BytesIO()
    pq.write_table(table, file)
    for data, words in {
        file.getvalue(): "no column 'vector'; it has id, values",
        b"PAR1 is all": "cannot be read as Parquet",
        as_parquet([{"id": 1, "vector": [1.0] * DIM}]): "'id' has the type int64; write it as a string",
    }.items():
        job = insert(client, store, data)
        assert (job.state, job.error_code) == (JobState.FAILED, "refused")
        assert words in (job.error or "")
    assert index_of(client, store).count(client.organisation, store.id, collection=store.collection) == 0


def test_lines_may_be_blank_and_fields_unknown_and_other_lines_are_named(client: LocalClient) -> None:
    store = given_store(client)
    row = {"id": "a", "vector": [1] * DIM, "values": [], "text": None, "attributes": {"x": None, "page": "i"}}
    data = b"\xef\xbb\xbf" + json.dumps(row).encode() + b"\n\n[1]\nnot JSON\n{}\n" + b'"' + b"x" * 5_000_000
    result = insert(client, store, data).result or {}
    assert (result["written"], result["failed"], result["ignored_fields"]) == (1, 4, ["values"])
    shown = {kind: found["first_rows"] for kind, found in result["failures"].items()}
    assert shown == {"row": [3, 4, 6], "id": [5]}


def test_a_job_whose_store_is_gone_is_cancelled(client: LocalClient) -> None:
    store = given_store(client)
    with client.pool.connection() as connection:
        stores.delete_store(connection, client.organisation, store.id)
    job = insert(client, store, as_lines(rows(2)))
    assert (job.state, job.error_code) == (JobState.CANCELLED, "gone")


def test_writes_shrink_when_the_index_refuses_or_delays_and_grow_again() -> None:
    size = BatchSize(most=100)
    for _ in range(3):
        size.shrink()
    assert size.now == 12
    sizes = [(size.grow(), size.now)[1] for _ in range(12)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (15, 100)
    for _ in range(9):
        size.shrink()
    assert size.now == 1


def test_no_row_of_a_damaged_file_is_inserted(client: LocalClient) -> None:
    store, data = given_store(client), as_lines(rows(3))
    file = client.upload("rows", data)
    (blob,) = (client.settings.home / "blobs").rglob(file.sha256)
    blob.write_bytes(data.replace(b"row-00001", b"row-10001"))

    job = insert_file(client, store, file)

    assert job.state is JobState.FAILED
    assert "is damaged" in (job.error or "")
    assert index_of(client, store).count(client.organisation, store.id, collection=store.collection) == 0
