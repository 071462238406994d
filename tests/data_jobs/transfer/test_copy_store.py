"""A copy answers searches like the first store, between any indexes, and is a store of its own."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database.paging import FIRST_PAGE
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.documents import known_documents
from cluster.documents.vector_stores import attaching, stores
from cluster.documents.vector_stores.store_files import FileStatus, detach, list_store_files
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.records import document_id
from cluster.settings import Settings
from data_jobs.copy_store import copy_store, main
from tests import folder_index
from tests.conftest import ROOT
from tests.data_jobs.transfer.conftest import FINGERPRINT, Fill, contents
from tests.indexed_files import make_files

COUNTED = ("source", "written", "unchanged", "failed", "equal")


def counted(summary: Any) -> tuple[Any, ...]:
    return tuple(summary[name] for name in COUNTED)


def found(indexes: ChunkIndexes, store: VectorStore, **how: Any) -> tuple[list[tuple[Any, ...]], list[float]]:
    query = {"vector": np.array([1, 2, 3], np.float32), "text": "stop the pump", "k": 20, **how}
    hits = indexes.of(store).search(store.organisation, store.id, collection=store.collection, **query)
    return [(hit.id, hit.text, hit.attributes) for hit in hits], [hit.score for hit in hits]


def named(connection: Connection[Any], here: Settings, name: str) -> VectorStore:
    return stores.find_store(connection, here.organisation, name)


@pytest.mark.parametrize(
    ("first", "second"), [("pgvector", "pgvector"), ("pgvector", "folder"), ("folder", "pgvector")]
)
def test_searches_of_a_copy_answer_as_those_of_the_first_store(
    connection: Connection[Any], here: Settings, indexes: ChunkIndexes, fill: Fill, first: str, second: str
) -> None:
    source = fill("a", index=first)
    assert counted(copy_store(here, "a", "b", index=second)) == (12, 12, 0, 0, True)
    target = named(connection, here, "b")
    assert (target.index, target.partial, target.metadata) == (second, True, {"of": "tests"})
    assert contents(indexes, target) == contents(indexes, source)
    filter = {"type": "eq", "key": "kind", "value": "guide"}
    for how in ({}, {"filter": filter}, {"text": None, "mode": "exact"}):
        (copied, scores), (expected, first_scores) = (found(indexes, s, **how) for s in (target, source))
        assert copied == expected
        assert scores == pytest.approx(first_scores, abs=1e-5)  # indexes round differently
    assert counted(copy_store(here, "a", "b"))[2:] == (12, 0, True)
    used = connection.execute(
        "SELECT kind, source, sum(quantity)::int FROM usage_events WHERE organisation = %s GROUP BY 1, 2",
        [target.organisation],
    ).fetchall()
    assert used == [("chunk", "job", 12)]


def test_the_files_of_a_copy_are_listed_and_removed_without_the_first_store(
    connection: Connection[Any], here: Settings, indexes: ChunkIndexes, fill: Fill
) -> None:
    source = fill("a")
    copy_store(here, "a", "b")
    target = named(connection, here, "b")
    (one,), (other,) = (list_store_files(connection, s, FIRST_PAGE).items for s in (source, target))
    assert (other.file, other.status, other.attributes) == (one.file, FileStatus.COMPLETED, one.attributes)
    assert (other.pages, other.usage_bytes, other.created_at) == (one.pages, one.usage_bytes, one.created_at)
    detach(connection, target, one.file)
    assert len(contents(indexes, target)) == 9
    assert len(contents(indexes, source)) == 12


def test_a_later_ingest_into_a_copy_finds_its_documents(
    connection: Connection[Any], here: Settings, fill: Fill
) -> None:
    fill("a")
    copy_store(here, "a", "b")
    target = named(connection, here, "b")
    id = document_id(here.organisation, target.id, "file:///0.txt")
    known = known_documents(connection, here.organisation, target.id, [id])[id]
    assert (known.source_stamp, known.content_hash, known.chunks) == ("1", "aa", 2)


def test_a_changed_store_is_brought_over_by_a_second_copy(
    connection: Connection[Any], here: Settings, indexes: ChunkIndexes, fill: Fill
) -> None:
    source = fill("a")
    copy_store(here, "a", "b", index="folder")
    target = named(connection, here, "b")
    key = {"collection": source.collection}
    document = document_id(here.organisation, source.id, "file:///0.txt")
    new = ChunkRecord(
        id="new", document=document, text="new", attributes={}, vector=np.array([0, 0, 1], np.float32)
    )
    indexes.of(source).replace_document(source.organisation, source.id, document, [new], **key)
    assert counted(copy_store(here, "a", "b")) == (11, 1, 10, 0, True)
    assert contents(indexes, target) == contents(indexes, source)
    extra = ChunkRecord(
        id="x", document="x", text="only here", attributes={}, vector=np.array([0, 1, 0], np.float32)
    )
    indexes.of(target).upsert(target.organisation, target.id, [extra], **key)
    summary = copy_store(here, "a", "b")
    assert (summary["equal"], summary["only_in_target"]) == (False, 1)


def test_a_file_whose_job_has_not_ended_is_left_out_and_named(
    connection: Connection[Any], here: Settings, fill: Fill
) -> None:
    source = fill("a")
    (file,) = make_files(connection, here.organisation)
    attaching.attach(connection, source, file)
    summary = copy_store(here, "a", "b")
    assert (summary["equal"], summary["left_out"]) == (
        False,
        [f"{file}: its job has not ended; copy again after that"],
    )


def test_what_the_index_refuses_is_counted_and_everything_else_copied(
    settings: Settings, here: Settings, fill: Fill
) -> None:
    fill("a")
    folder_index.behave(settings, refused_ending="row 1")
    summary = copy_store(here, "a", "b", index="folder")
    assert counted(summary) == (12, 11, 0, 1, False)
    assert summary["left_out"][0].startswith("row 1: ")


def test_a_vector_that_the_index_lost_is_counted(here: Settings, indexes: ChunkIndexes, fill: Fill) -> None:
    source = fill("a", index="folder")
    external = indexes.of(source).external
    assert external is not None
    external.delete(
        source.organisation, source.id, ["row 2"], collection=indexes.of(source).collection(source.collection)
    )
    summary = copy_store(here, "a", "b", index="pgvector")
    assert counted(summary) == (12, 11, 0, 1, False)


@pytest.mark.parametrize("index", ["pgvector", "folder"])
def test_a_killed_copy_goes_on_and_writes_nothing_twice(
    connection: Connection[Any],
    pool: ConnectionPool,
    settings: Settings,
    here: Settings,
    indexes: ChunkIndexes,
    fill: Fill,
    index: str,
) -> None:
    source = fill("a", documents=26, chunks=60)
    folder_index.behave(settings, delay_s=0.3)
    environment = {
        "CLUSTER_HOME": str(here.home),
        "CLUSTER_ORGANISATION": here.organisation,
        "CLUSTER_INDEXES": f'{{"folder": "{folder_index.NAME}"}}',
        "CLUSTER_LOG_LEVEL": "WARNING",
    }
    arguments = ["--from", "a", "--to", "b", "--index", index]
    process = subprocess.Popen(
        [sys.executable, "-m", "data_jobs.copy_store", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    statement = (
        f"SELECT count(*) FROM vectors_{source.collection} JOIN vector_stores AS s ON s.id = vector_store"
        " WHERE s.name = 'b' AND s.organisation = %s"
    )
    while process.poll() is None:
        (copied,) = connection.execute(statement, [here.organisation]).fetchone() or (0,)
        if copied:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    folder_index.behave(settings)
    (before,) = connection.execute(statement, [here.organisation]).fetchone() or (0,)
    assert 0 < before < 1_566
    summary = copy_store(here, "a", "b")
    assert counted(summary) == (1_566, 1_566 - before, before, 0, True)
    assert contents(indexes, named(connection, here, "b")) == contents(indexes, source)


def test_stores_that_do_not_fit_are_refused_with_a_sentence(
    connection: Connection[Any], here: Settings, fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    fill("a")
    other = replace(FINGERPRINT, model="other")
    stores.create_store(connection, here.organisation, NewStore(name="other"), fingerprint=other)
    stores.create_store(connection, here.organisation, NewStore(name="same"), fingerprint=FINGERPRINT)
    with pytest.raises(Conflict, match=r"holds vectors of other@.*those to write are of small@"):
        copy_store(here, "a", "other")
    with pytest.raises(Conflict, match="keeps its vectors in the index 'pgvector', not in 'folder'"):
        copy_store(here, "a", "same", index="folder")
    with pytest.raises(InvalidInput, match="the same vector store"):
        copy_store(here, "a", "a")
    with pytest.raises(NotFound, match="no vector store 'missing'"):
        copy_store(here, "missing", "b")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "continues when the same" in " ".join(capsys.readouterr().out.split())
