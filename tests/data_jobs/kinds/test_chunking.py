"""A store's chunking strategy decides how its files are cut, and a new strategy cuts them again."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.chunks.chunk_store import document_chunks
from cluster.documents.files import File
from cluster.documents.vector_stores import store_files
from cluster.documents.vector_stores.rechunking import change_store
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Engine
from cluster.jobs.jobs import Job, JobState
from cluster.jobs.kinds import RECHUNK_STORE
from cluster.settings import Settings
from cluster.vector_index.attributes import page_text, system_attributes
from data_jobs.worker.consumer import Consumer
from tests.data_jobs.running_consumer import LocalClient, consuming

ROWS = "\n".join(f"| bird {number} | tree {number} |" for number in range(150))
GUIDE = f"""# Guide

Read this before the work.

## Pumps

{"Close the valve before the pump is opened for repair. " * 30}

## Nests

{"Rooks and crows build their nests in high elms. " * 30}

| Bird | Nest |
|---|---|
{ROWS}
""".encode()
OVERLAPPING = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 40}}


@pytest.fixture(scope="module")
def consumer(only_hashing: Settings, pool: ConnectionPool, hashing_engine: Engine) -> Iterator[Consumer]:
    with consuming(only_hashing, pool, hashing_engine) as consumer:
        yield consumer


@pytest.fixture
def client(
    only_hashing: Settings,
    pool: ConnectionPool,
    hashing_engine: Engine,
    organisation: str,
    consumer: Consumer,
) -> LocalClient:
    return LocalClient(only_hashing, pool, hashing_engine, organisation)


def chunks(client: LocalClient, store: VectorStore, file: File) -> list[ChunkRecord]:
    with client.pool.connection() as connection:
        attached = store_files.get_store_file(connection, client.organisation, store.id, file.id)
        found = document_chunks(
            connection, client.organisation, store.id, attached.document, collection=store.collection
        )
    return sorted(found, key=lambda row: int(row.attributes["ordinal"]))


def indexed(client: LocalClient, store: VectorStore, file: File, strategy: dict[str, Any] | None) -> Job:
    job = client.ended(client.attach(store, file, chunking_strategy=strategy))
    assert job.state == JobState.SUCCEEDED, job.error
    return job


def test_rows_of_a_table_are_stored_with_their_header_and_name_their_rows(client: LocalClient) -> None:
    store, file = client.store(), client.upload("guide.md", GUIDE, "text/markdown")
    indexed(client, store, file, None)
    last = chunks(client, store, file)[-1]
    assert last.text.startswith("| Bird | Nest |\n| --- | --- |\n| bird ")
    assert page_text(last.text, last.attributes).startswith("| bird ")
    place = system_attributes(last.attributes)
    assert place["heading"] == "Guide > Nests"
    assert place["rows"].endswith("-151")


@pytest.mark.parametrize(
    ("name", "data", "place"),
    [
        (
            "birds.csv",
            "bird;note\n" + "".join(f"bird {n};nests in tree {n}\n" for n in range(2, 152)),
            {"rows": "-151"},
        ),
        (
            "birds.jsonl",
            "".join(f'{{"bird": "bird {n}", "note": "tree {n}"}}\n' for n in range(1, 151)),
            {"rows": "-150"},
        ),
        (
            "birds.json",
            '{"birds": {"herons": {"note": "%s", "last": 1}}}' % ("Herons stand still. " * 120),
            {"heading": "birds > herons"},
        ),
        (
            "birds.py",
            "import os\n\n\nclass Heron:\n    def stand(self):\n" + "        self.wait(for_hours=3)\n" * 300,
            {"heading": "class Heron: > def stand(self):"},
        ),
    ],
)
def test_chunks_of_records_and_code_name_their_place(
    client: LocalClient, name: str, data: str, place: dict[str, str]
) -> None:
    store, file = client.store(), client.upload(name, data.encode())
    indexed(client, store, file, None)
    last = chunks(client, store, file)[-1]
    found = system_attributes(last.attributes)
    assert {key: found[key][-len(value) :] for key, value in place.items()} == place
    assert last.text.startswith("| bird | note |") or "rows" not in place


def test_each_strategy_cuts_in_its_own_way(client: LocalClient) -> None:
    store, file = client.store(), client.upload("guide.md", GUIDE, "text/markdown")
    found: dict[str, list[ChunkRecord]] = {}
    for strategy in ({"type": "headings"}, OVERLAPPING, {"type": "none"}, {"type": "semantic"}):
        indexed(client, store, file, strategy)
        found[strategy["type"]] = chunks(client, store, file)
    assert any(row.text.startswith("Guide\nPumps\n") for row in found["headings"])
    overlaps = [
        one.attributes["end"] > other.attributes["start"]
        for one, other in zip(found["static"], found["static"][1:], strict=False)
    ]
    assert sum(overlaps) > len(overlaps) / 2
    assert len(found["none"]) <= len(found["semantic"])
    assert "Rooks" not in next(row.text for row in found["semantic"] if "pump is opened" in row.text)


def test_vectors_of_the_semantic_chunker_are_counted_as_usage(client: LocalClient) -> None:
    store, file = client.store(), client.upload("guide.md", GUIDE, "text/markdown")
    job = indexed(client, store, file, {"type": "semantic"})
    with client.pool.connection() as connection:
        row = connection.execute(
            "SELECT sum(quantity) FROM usage_events WHERE job = %s AND kind = 'embedding'",
            [job.id],
        ).fetchone()
    assert row is not None
    assert job.result is not None
    tokens = job.result["tokens_embedded"] + 2 * job.result["embedded"]
    assert 1.5 * tokens < row[0] <= 2 * tokens


def test_a_new_strategy_of_a_store_cuts_its_files_again(client: LocalClient) -> None:
    store = client.store()
    file, own = (client.upload(name, GUIDE, "text/markdown") for name in ("guide.md", "own.md"))
    indexed(client, store, file, None)
    indexed(client, store, own, OVERLAPPING)
    before, own_before = chunks(client, store, file), chunks(client, store, own)
    with client.pool.connection() as connection:
        same = change_store(connection, client.organisation, store.id, {"description": "new"})
        assert same.chunking_strategy is None
        change_store(connection, client.organisation, store.id, {"chunking_strategy": {"type": "headings"}})
        jobs = connection.execute(
            "SELECT id FROM jobs WHERE organisation = %s AND kind = %s",
            [client.organisation, RECHUNK_STORE.name],
        ).fetchall()
    ((job,),) = jobs
    ended = client.ended(job)
    assert (ended.state, (ended.result or {})["files"]) == (JobState.SUCCEEDED, 1)
    with client.pool.connection() as connection:
        attached = store_files.get_store_file(connection, client.organisation, store.id, file.id)
    assert client.ended(attached.job).state == JobState.SUCCEEDED
    after = chunks(client, store, file)
    assert {row.id for row in after} != {row.id for row in before}
    assert any(row.text.startswith("Guide\nNests\n") for row in after)
    assert chunks(client, store, own) == own_before
