"""After concurrent writers, shorter versions and a killed writer, exactly the right chunks are in the chunk
table, in searches, and in an index outside our Postgres.
"""

import json
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from psycopg_pool import ConnectionPool

from cluster.documents.indexing import ChunkIndex
from cluster.settings import Settings
from cluster.vector_index import Written
from tests.cluster.vector_index.contract import ORG, STORE
from tests.cluster.vector_index.contract.conftest import MakeRow, ids, persistently
from tests.cluster.vector_index.contract.writer import FIRST, SECOND, version
from tests.conftest import ROOT
from tests.waiting import until


def assert_holds_exactly(index: ChunkIndex, collection: str, expected: list[str], vector: Any) -> None:
    """The chunk table, searches by vector and by word, and an index outside have exactly these chunks."""
    assert ids(index, collection) == sorted(expected)
    for asked in ({"vector": vector}, {"text": "chunk text"}):
        hits = index.search(ORG, STORE, collection=collection, k=1_000, **asked)
        assert sorted(hit.id for hit in hits) == sorted(expected)
    if (external := index.external) is None:
        return
    place = index.collection(collection)
    until(
        lambda: external.count(ORG, STORE, collection=place),
        lambda count: count == len(expected),
        what=f"{len(expected)} vectors outside",
    )
    pages = external.ids(ORG, STORE, collection=place)
    assert sorted(id for page in pages for id in page) == sorted(expected)


def test_writers_of_the_same_ids_leave_each_chunk_once_as_one_of_them_wrote_it(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    def write(turn: int) -> None:
        numbers = [(turn * 40 + n) % 200 for n in range(120)]
        random.shuffle(numbers)
        rows = [row(f"{n:03}", writer=turn % 4) for n in numbers]
        persistently(index.upsert, ORG, STORE, rows, collection)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(12)))
    index.settle(ORG, STORE)
    vector = row("query").vector
    assert_holds_exactly(index, collection, [f"{n:03}" for n in range(200)], vector)
    stored = {one.id: one for one in index.scan(ORG, STORE, collection=collection)}
    assert all((one.vector == row(id).vector).all() for id, one in stored.items())
    for writer in range(4):
        filter = {"type": "eq", "key": "writer", "value": writer}
        hits = index.search(ORG, STORE, collection=collection, vector=vector, k=1_000, filter=filter)
        assert {hit.id for hit in hits} == {
            id for id, one in stored.items() if one.attributes == {"writer": writer}
        }


def test_a_document_that_shrinks_leaves_no_chunk_of_a_longer_version(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    index.upsert(ORG, STORE, [row("other", document="other")], collection=collection)
    before: list[str] = []
    for count, same in ((300, 0), (30, 20), (2, 2), (0, 0)):  # some keep their ids, and the others are new
        rows = [row(f"{n:03}") for n in range(same)] + [row(f"{count}-{n:03}") for n in range(count - same)]
        now = [one.id for one in rows]
        assert index.replace_document(ORG, STORE, "doc", rows, collection=collection) == Written(
            written=len(set(now) - set(before)),
            unchanged=len(set(now) & set(before)),
            deleted=len(set(before) - set(now)),
        )
        assert_holds_exactly(index, collection, ["other", *now], row("query").vector)
        before = now


def test_a_writer_that_is_killed_in_mid_write_leaves_the_old_versions_and_hinders_no_other(
    index: ChunkIndex, collection: str, here: Settings, pool: ConnectionPool
) -> None:
    old = {document: version(document, "old", 60) for document in (FIRST, SECOND)}
    for document, rows in old.items():
        index.replace_document(ORG, STORE, document, rows, collection=collection)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.vector_index.contract.writer", collection],
        cwd=ROOT,
        env={**os.environ, **environment(here)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"in mid-write\n"
        finally:
            process.send_signal(signal.SIGKILL)
    first, second = ([row.id for row in rows] for rows in old.values())
    vector = old[FIRST][0].vector
    assert ids(index, collection) == sorted(first + second)
    hits = index.search(ORG, STORE, collection=collection, vector=vector, k=1_000)
    assert sorted(hit.id for hit in hits) == sorted(first + second)

    new = version(SECOND, "new", 50)  # the next worker writes what the killed one wrote
    assert persistently(index.replace_document, ORG, STORE, SECOND, new, collection) == Written(
        written=50, deleted=60
    )
    with pool.connection() as connection:  # as if the time of the killed writer were over
        connection.execute("UPDATE vector_outbox SET due_at = now() WHERE collection = %s", [collection])
    index.settle(ORG, STORE)
    assert_holds_exactly(index, collection, first + [row.id for row in new], vector)


def environment(here: Settings) -> dict[str, str]:
    """The variables with which another process has these settings."""
    sources = {name: source.model_dump() for name, source in here.indexes.items()}
    url = here.database_url
    return {
        "CLUSTER_HOME": str(here.home),
        "CLUSTER_INDEXES": json.dumps(sources),
        "CLUSTER_VECTOR_INDEX": here.vector_index,
        "CLUSTER_LOG_LEVEL": here.log_level,
        **({} if url is None else {"CLUSTER_DATABASE_URL": url.get_secret_value()}),
    }
