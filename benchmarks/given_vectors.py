"""Compare the job ``bulk_insert_vectors`` with raw ``COPY`` of the same rows into an equal table.

    python -m benchmarks.given_vectors --rows 200000

One process submits a Parquet file and runs the job as a worker does: the file is copied from the blob store,
read and checked in a process of its own, and inserted with a record of the progress in each transaction. The
baseline is one binary ``COPY`` of rows that are in memory already, into a table with the same indexes; it
checks nothing and cannot be repeated or resumed. The approximate index is built after the rows, and its time
is shown separately. The memory is the largest growth of the worker, and the size of its reading process.
"""

import argparse
import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.table import Table

from cluster.blobs import open_blob_store
from cluster.database import bundled, open_pool
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.files import create_file
from cluster.documents.vector_stores.stores import NewStore, VectorStore, create_store
from cluster.engines.contract import Fingerprint
from cluster.jobs import queue
from cluster.jobs.jobs import Job, get_job
from cluster.jobs.kinds import BULK_INSERT_VECTORS
from cluster.organisations.organisations import StorageLimits, ensure_organisation
from cluster.settings import Settings
from data_jobs.kinds.bulk_insert_vectors import BulkInsertVectors
from data_jobs.kinds.resources import Resources
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.parser_pool import Parsers

ORGANISATION = "bench"
#: Rows of the Parquet file that are made at once.
ROWS_PER_PART = 50_000
CHECK_MEMORY_S = 0.2
START_S = 60.0
MIB = 1024 * 1024


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000, help="rows (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=384, help="numbers of a vector (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of both (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        os.chmod(home, 0o755)  # the bundled Postgres runs as another user when we are root
        settings = Settings(home=Path(home), log_level="WARNING")
        try:
            with open_pool(settings) as pool:
                measured(settings, pool, arguments.rows, arguments.dim, arguments.rounds)
        finally:
            bundled.stop(settings)
    return 0


def measured(settings: Settings, pool: ConnectionPool, count: int, dim: int, rounds: int) -> None:
    """Print one row of the table for each round."""
    with pool.connection() as connection:
        ensure_organisation(connection, ORGANISATION)
    file = parquet(settings, pool, count, dim)
    table = Table(title=f"{count:,} given vectors of {dim} numbers")
    for column in ("COPY rows/s", "job rows/s", "of raw COPY", "index in s", "worker MiB", "reader MiB"):
        table.add_column(column, justify="right")
    with working(settings, pool):
        for _ in range(rounds):
            copied = copy(settings, pool, count, dim)
            truncate(pool)
            with memory() as largest:
                job = insert(settings, pool, file, dim)
            stages = seconds_of_stages(pool, job)
            written = stages["read"] + stages["insert"] + stages["report"]
            assert (job.result or {}).get("written") == count, (job.error, job.result)
            table.add_row(
                f"{count / copied:,.0f}",
                f"{count / written:,.0f}",
                f"{copied / written:.2f}",
                f"{stages['index']:.0f}",
                *(f"{bytes / MIB:,.0f}" for bytes in largest),
            )
            truncate(pool)
    Console().print(table)


def vectors(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Vectors of unit length in 500 clusters, as embeddings are."""
    centres = np.random.default_rng(99).normal(size=(500, dim)).astype(np.float32)
    chance = np.random.default_rng(seed)
    found = centres[chance.integers(len(centres), size=count)]
    found += 0.7 * chance.standard_normal(size=(count, dim), dtype=np.float32)
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def parquet(settings: Settings, pool: ConnectionPool, count: int, dim: int) -> str:
    """Upload the file, and return its id."""
    with tempfile.TemporaryFile() as file:
        writer = None
        for first in range(0, count, ROWS_PER_PART):
            size = min(ROWS_PER_PART, count - first)
            numbers = pa.array(vectors(size, dim, first).ravel())
            part = pa.table(
                {
                    "id": [f"row-{number:08}" for number in range(first, first + size)],
                    "vector": pa.FixedSizeListArray.from_arrays(numbers, dim),
                    "attributes": [{"number": number, "shop": "a"} for number in range(first, first + size)],
                }
            )
            writer = writer or pq.ParquetWriter(file, part.schema)
            writer.write_table(part)
        assert writer is not None
        writer.close()
        file.seek(0)
        with open_blob_store(settings).writer(ORGANISATION) as stored:
            while some := file.read(MIB):
                stored.write(some)
            blob = stored.commit()
    with pool.connection() as connection:
        made = create_file(
            connection,
            ORGANISATION,
            "rows.parquet",
            "user_data",
            blob,
            "application/vnd.apache.parquet",
            default_limits=StorageLimits(),
        )
    return made.id


def copy(settings: Settings, pool: ConnectionPool, count: int, dim: int) -> float:
    """Write all rows with one COPY, and return the seconds that it took."""
    store = new_store(settings, pool, dim)
    made = np.concatenate(
        [vectors(min(ROWS_PER_PART, count - first), dim, first) for first in range(0, count, ROWS_PER_PART)]
    )
    began = time.perf_counter()
    with pool.connection() as connection, connection.cursor() as cursor:
        columns = "organisation, vector_store, id, document, text, attributes, embedding"
        table = f"vectors_{store.collection}"
        with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT binary)") as into:
            into.set_types(["text", "text", "text", "text", "text", "jsonb", "vector"])
            for number, vector in enumerate(made):
                id, attributes = f"row-{number:08}", Jsonb({"number": number, "shop": "a"})
                into.write_row((ORGANISATION, store.id, id, id, "", attributes, vector))
    return time.perf_counter() - began


def insert(settings: Settings, pool: ConnectionPool, file: str, dim: int) -> Job:
    """Run the job, and return it after its end."""
    store = new_store(settings, pool, dim)
    with pool.connection() as connection:
        input = {"vector_store": store.id, "file": file}
        job = queue.submit(connection, ORGANISATION, BULK_INSERT_VECTORS, input)
    while not job.state.ended:
        time.sleep(0.1)
        with pool.connection() as connection:
            job = get_job(connection, ORGANISATION, job.id)
    return job


def new_store(settings: Settings, pool: ConnectionPool, dim: int) -> VectorStore:
    """A store without a model."""
    fingerprint = Fingerprint.of_given(dim)
    with pool.connection() as connection:
        store = create_store(connection, ORGANISATION, NewStore(), fingerprint=fingerprint)
    ChunkIndexes(settings, pool).of(store).ensure(store.collection, dim=dim)
    return store


def truncate(pool: ConnectionPool) -> None:
    """Empty the table, and drop the approximate index, so that each load begins alike."""
    with pool.connection() as connection:
        (table,) = connection.execute("SELECT 'vectors_' || name FROM vector_collections").fetchone() or ("",)
        connection.execute(f"TRUNCATE {table}")
        connection.execute(f"DROP INDEX IF EXISTS {table}_hnsw")
        connection.execute(f"ANALYZE {table}")


def seconds_of_stages(pool: ConnectionPool, job: Job) -> dict[str, float]:
    """Seconds of each stage of the job."""
    with pool.connection() as connection:
        rows = connection.execute(
            "SELECT stage, extract(epoch FROM coalesce(ended_at, now()) - started_at)::float8"
            " FROM job_stages WHERE job = %s",
            [job.id],
        ).fetchall()
    return dict(rows)


class NoModel:
    """Takes the place of the models, which this job does not use."""

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"a job of given vectors asked for a model: {arguments}, {options}")


@contextmanager
def working(settings: Settings, pool: ConnectionPool) -> Iterator[None]:
    """Run a worker inside the block."""
    made: list[tuple[asyncio.AbstractEventLoop, Consumer]] = []
    begun = threading.Event()

    async def work() -> None:
        consumer = Consumer(settings, kinds={}, name="bench")
        parsers = Parsers(settings, consumer.threads, 1)
        resources = Resources(
            blobs=open_blob_store(settings),
            indexes=ChunkIndexes(settings, pool),
            parsers=parsers,
            embed=NoModel(),
            answer=NoModel(),
        )
        consumer.kinds[BULK_INSERT_VECTORS.name] = BulkInsertVectors(resources)
        made.append((asyncio.get_running_loop(), consumer))
        begun.set()
        await consumer.run()
        parsers.close()

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    if not begun.wait(START_S):
        raise RuntimeError("the worker did not start")
    try:
        yield
    finally:
        loop, consumer = made[0]
        loop.call_soon_threadsafe(consumer.stop)
        thread.join()


@contextmanager
def memory() -> Iterator[list[int]]:
    """The largest growth of this process's memory, and the largest memory of a child, inside the block."""
    process, done = psutil.Process(), threading.Event()
    before, largest = process.memory_info().rss, [0, 0]

    def watch() -> None:
        while not done.wait(CHECK_MEMORY_S):
            largest[0] = max(largest[0], process.memory_info().rss - before)
            for child in process.children():
                try:
                    if any("reader_process" in word for word in child.cmdline()):
                        largest[1] = max(largest[1], child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield largest
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    raise SystemExit(main())
