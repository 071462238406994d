"""SIGKILL of the driver, or of an engine and Postgres, during a bulk ingest.

This run or the next one stores every chunk of every document once.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import find_store
from cluster.engines import Registry, open_engine
from cluster.local.processes import kill as kill_processes
from cluster.local.processes import wait_gone
from cluster.records import Page, document_id
from cluster.settings import Settings
from data_jobs.sources import entry_uri
from data_jobs.stages.chunkers.content_defined import ContentDefinedChunker
from tests.conftest import NewHome, kill_postmaster
from tests.data_jobs.stages.containers.archives import zipped
from tests.waiting import LONGEST_COMMAND_S

pytestmark = pytest.mark.launch

DOCUMENTS = 16
Vectors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Documents:
    """The documents of a run."""

    folder: Path
    #: URI of each document -> its text.
    texts: dict[str, str]


@pytest.fixture
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Documents:
    """Documents with enough text for a fault in the middle of a run, as files or in one archive."""
    folder = tmp_path / "documents"
    folder.mkdir()
    chance = random.Random(4)
    words = Path(random.__file__).read_text(encoding="utf-8").split()
    texts = {}
    for number in range(DOCUMENTS):
        sentences = (" ".join(chance.choices(words, k=12)) + "." for _ in range(50))
        texts[f"{number:02}.txt"] = " ".join(sentences)
    if request.param == "archive":
        archive = folder / "documents.zip"
        archive.write_bytes(zipped(texts))
        return Documents(folder, {entry_uri(archive.as_uri(), name): text for name, text in texts.items()})
    for name, text in texts.items():
        (folder / name).write_text(text)
    return Documents(folder, {(folder / name).as_uri(): text for name, text in texts.items()})


def command(folder: Path) -> list[str]:
    """The command of a bulk ingest, as a user types it."""
    return [sys.executable, "-m", "data_jobs.ingest", str(folder), "--vector-store", "faults"]


def environment(settings: Settings) -> dict[str, str]:
    """Environment in which the command uses this cluster."""
    return {
        **os.environ,
        "CLUSTER_HOME": str(settings.home),
        "CLUSTER_RAY_PORT": str(settings.ray_port),
        "CLUSTER_BULK_ENGINES": "1",
        "CLUSTER_LEASE_S": "2",
    }


def vectors_of(settings: Settings) -> Vectors:
    """Chunk id -> vector of every stored chunk."""
    with open_pool(settings, access=OWNER) as pool:
        with pool.connection() as connection:
            store = find_store(connection, settings.organisation, "faults")
        rows = open_chunk_index(settings, pool).scan(
            store.organisation, store.id, collection=store.collection
        )
        return {row.id: row.vector for row in rows if row.vector is not None}


def vectors_wanted(settings: Settings, texts: dict[str, str]) -> Vectors:
    """Chunk id -> vector, computed by the stages alone: without Ray and without a database."""
    engine, wanted = open_engine(Registry(settings).default), {}
    with open_pool(settings, access=OWNER) as pool, pool.connection() as connection:
        store = find_store(connection, settings.organisation, "faults")
    for uri, text in texts.items():
        document = document_id(store.organisation, store.id, uri)
        chunked = ContentDefinedChunker(engine.tokeniser, store.fingerprint.id).chunk(
            document, [Page(number=1, text=text)]
        )
        vectors = engine.embed_ids([np.array(chunk.token_ids, np.int32) for chunk in chunked.chunks])
        wanted |= {chunk.id: vector for chunk, vector in zip(chunked.chunks, vectors, strict=True)}
    return wanted


def kill_driver(driver: psutil.Process, settings: Settings, chance: random.Random) -> None:
    """Kill the process that the user started."""
    driver.kill()


def kill_engine_and_postgres(driver: psutil.Process, settings: Settings, chance: random.Random) -> None:
    """Kill the actor that holds the model, and soon after it the postmaster with its backends."""
    (actor,) = [
        process
        for process in descendants(driver)
        if "MapWorker" in process.name() or "Embed" in " ".join(process.cmdline())
    ]
    actor.kill()
    time.sleep(chance.uniform(0, 3))
    assert driver.poll() is None, "the run ended before Postgres could be killed"
    kill_postmaster(settings)


def descendants(driver: psutil.Process) -> list[psutil.Process]:
    """Every live process that the driver started, directly or through others."""
    return [
        process for process in driver.children(recursive=True) if process.status() != psutil.STATUS_ZOMBIE
    ]


def written(settings: Settings) -> int:
    """Number of documents recorded so far."""
    with open_pool(settings, access=OWNER) as pool, pool.connection() as connection:
        row = connection.execute("SELECT count(*) FROM documents").fetchone()
    return row[0] if row else 0


@pytest.mark.parametrize(
    ("kill", "documents"),
    [(kill_driver, "files"), (kill_engine_and_postgres, "files"), (kill_driver, "archive")],
    ids=["driver", "engine and postgres", "driver in an archive"],
    indirect=["documents"],
)
def test_after_a_kill_this_run_or_the_next_one_stores_every_chunk_once(
    kill: Callable[[psutil.Process, Settings, random.Random], None],
    chance: random.Random,
    new_home: NewHome,
    documents: Documents,
    tmp_path: Path,
) -> None:
    settings = new_home("disturbed")
    open_pool(settings, access=OWNER).close()
    output = tmp_path / "output"
    with output.open("wb") as file:
        driver = psutil.Popen(command(documents.folder), env=environment(settings), stdout=file, stderr=file)
    moment = chance.randint(1, DOCUMENTS // 2)
    while written(settings) < moment:
        assert driver.poll() is None, output.read_text()
        time.sleep(0.05)
    started = descendants(driver)
    assert written(settings) < DOCUMENTS, "the run ended before the fault"
    kill(driver, settings, chance)
    succeeded = driver.wait(LONGEST_COMMAND_S) == 0  # a run that survives goes on; a killed one is repeated
    # Ray's agents outlive a killed driver where no process reaps its children.
    kill_processes(wait_gone(started, 3))
    if not succeeded:
        again = subprocess.run(
            command(documents.folder), env=environment(settings), capture_output=True, text=True
        )
        assert again.returncode == 0, again.stderr
    with open_pool(settings, access=OWNER) as pool, pool.connection() as connection:
        states = [state for (state,) in connection.execute("SELECT state FROM jobs ORDER BY created_at")]
    assert states == (["succeeded"] if succeeded else ["failed", "succeeded"])
    after, wanted = vectors_of(settings), vectors_wanted(settings, documents.texts)
    assert after.keys() == wanted.keys()
    assert min(float(after[id] @ wanted[id]) for id in after) > 0.999999
