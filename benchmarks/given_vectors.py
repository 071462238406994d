"""Compare the job ``bulk_insert_vectors`` with raw ``COPY`` of the same rows into an equal table.

    python -m benchmarks.given_vectors --rows 200000
    python -m benchmarks.given_vectors --rows 1000000 --rounds 1 --kills 2 --without-index

A worker in a process of its own runs the job: it copies the file from the blob store, lets another process
read and check the rows, and inserts the rows with a record of the progress in each transaction. The baseline
is one ``COPY`` of bytes that were encoded before the clock starts, into a table with the same columns,
storage and indexes, but without the triggers that count changes. Both end with a commit to the disk. The
approximate index is built after the rows, and its time is shown separately.

With ``--kills``, the worker is killed with SIGKILL that many times, and the counts of the job must still be
exact. The measured speed is then not meaningful. Files of JSON lines have 37 bad rows of six kinds, which the
job must name by their numbers. The memory is that of the worker and its reading process together, when 10, 50
and 90 % of the rows are inserted.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.table import Table

from benchmarks.given_vectors_rows import FORMATS, ORGANISATION, bad_rows, encoded, made
from benchmarks.given_vectors_worker import LEASE_S
from cluster.blobs import open_blob_store
from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks.binary_copy import END, HEADER
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.files import create_file
from cluster.documents.vector_stores.stores import NewStore, VectorStore, create_store
from cluster.engines.contract import Fingerprint
from cluster.jobs import queue
from cluster.jobs.jobs import Job, get_job
from cluster.jobs.kinds import BULK_INSERT_VECTORS
from cluster.organisations.organisations import StorageLimits, ensure_organisation
from cluster.settings import Settings

CHECK_S = 0.2
#: Shares of the inserted rows at which the benchmark shows the memory.
SHARES = (0.1, 0.5, 0.9)
MIB = 1024 * 1024


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000, help="rows (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=384, help="numbers of a vector (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of all (default: %(default)s)")
    parser.add_argument(
        "--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="formats of files"
    )
    parser.add_argument("--kills", type=int, default=0, help="kills of the worker (default: %(default)s)")
    parser.add_argument("--without-index", action="store_true", help="build no approximate index")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        os.chmod(home, 0o755)  # the bundled Postgres runs as another user when we are root
        # A short lease lets another worker continue soon after a kill.
        settings = Settings(home=Path(home), log_level="ERROR", lease_s=LEASE_S)
        try:
            with open_pool(settings, access=OWNER) as pool:
                Bench(settings, pool, options).run()
        finally:
            bundled.stop(settings)
    return 0


@dataclass
class Bench:
    """Runs the measurements with one database."""

    settings: Settings
    pool: ConnectionPool
    options: argparse.Namespace

    def run(self) -> None:
        """Print one row of the table for each round and format."""
        count, dim = self.options.rows, self.options.dim
        with self.pool.connection() as connection:
            ensure_organisation(connection, ORGANISATION)
        files = {name: self.upload(FORMATS[name], count, dim) for name in self.options.formats}
        table = Table(title=f"{count:,} given vectors of {dim} numbers")
        shares = " / ".join(f"{share:.0%}" for share in SHARES)
        for column in (
            "format",
            "COPY rows/s",
            "job rows/s",
            "of raw COPY",
            "index in s",
            f"MiB at {shares}",
        ):
            table.add_column(column, justify="right")
        for _ in range(self.options.rounds):
            copied = math.nan if self.options.kills else self.copy(count, dim)
            for name, file in files.items():
                job, memory = self.insert(file)
                stages = self.seconds_of_stages(job)
                written = stages["read"] + stages["insert"] + stages["report"]
                self.check(job, bad_rows(count) if name == "jsonl" else {})
                row = (
                    name,
                    f"{count / copied:,.0f}",
                    f"{count / written:,.0f}",
                    f"{copied / written:.2f}",
                    f"{stages['index']:.0f}",
                    " / ".join(f"{size / MIB:,.0f}" for size in memory.at(SHARES)),
                )
                print(*row, sep="  ", file=sys.stderr, flush=True)
                table.add_row(*row)
                self.truncate()
        Console().print(table)

    def upload(self, write: Callable[[IO[bytes], int, int], None], count: int, dim: int) -> str:
        """Upload the file, and return its id."""
        with open_blob_store(self.settings).writer(ORGANISATION) as stored, tempfile.TemporaryFile() as file:
            write(file, count, dim)
            file.seek(0)
            while some := file.read(MIB):
                stored.write(some)
            blob = stored.commit()
        with self.pool.connection() as connection:
            made = create_file(
                connection,
                ORGANISATION,
                "rows",
                "user_data",
                blob,
                "application/octet-stream",
                default_limits=StorageLimits(),
            )
        return made.id

    def copy(self, count: int, dim: int) -> float:
        """Write all rows with one COPY, and return the seconds that it took."""
        store = self.new_store()
        parts = [encoded(store, first, vectors) for first, vectors in made(count, dim)]
        like = f"vectors_{store.collection}"
        columns = "organisation, vector_store, id, document, text, attributes, embedding, words_version"
        with self.pool.connection() as connection:
            connection.execute(f"CREATE TABLE raw (LIKE {like} INCLUDING ALL)")
        began = time.perf_counter()
        statement = f"COPY raw ({columns}) FROM STDIN (FORMAT binary)"
        with self.pool.connection() as connection, connection.cursor().copy(statement) as into:
            into.write(HEADER)
            for part in parts:
                into.write(part)
            into.write(END)
        seconds = time.perf_counter() - began
        with self.pool.connection() as connection:
            connection.execute("DROP TABLE raw")
        return seconds

    def insert(self, file: str) -> tuple[Job, "Memory"]:
        """Run the job, and return it after its end."""
        store = self.new_store()
        memory = Memory(self.options.rows)
        with self.pool.connection() as connection:
            input = {"vector_store": store.id, "file": file}
            job = queue.submit(connection, ORGANISATION, BULK_INSERT_VECTORS, input)
        kills = [(number + 1) / (self.options.kills + 1) for number in range(self.options.kills)]
        worker = self.worker()
        try:
            while not job.state.ended:
                time.sleep(CHECK_S)
                with self.pool.connection() as connection:
                    job = get_job(connection, ORGANISATION, job.id)
                memory.look(worker.pid, job.done or 0)
                if kills and (job.done or 0) >= kills[0] * self.options.rows:
                    kills.pop(0)
                    worker.kill()
                    worker.wait()
                    worker = self.worker()
                if worker.poll() is not None:
                    raise RuntimeError(f"the worker ended with the exit code {worker.returncode}")
        finally:
            worker.kill()
            worker.wait()
        assert job.attempt == self.options.kills + 1, job.attempt
        return job, memory

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        options = ["--without-index"] if self.options.without_index else []
        home = str(self.settings.home)
        return subprocess.Popen([sys.executable, "-m", "benchmarks.given_vectors_worker", home, *options])

    def new_store(self) -> VectorStore:
        """Create a store without a model."""
        fingerprint = Fingerprint.of_given(self.options.dim)
        with self.pool.connection() as connection:
            store = create_store(connection, ORGANISATION, NewStore(), fingerprint=fingerprint)
        ChunkIndexes(self.settings, self.pool).of(store).ensure(store.collection, dim=self.options.dim)
        return store

    def check(self, job: Job, bad: Mapping[int, str]) -> None:
        """Check that each row was inserted once, or that the result of the job names it."""
        result = job.result or {}
        named = {row: kind for kind, of in result["failures"].items() for row in of["first_rows"]}
        assert named == bad, (job.error, named)
        good = self.options.rows - len(bad)
        assert (result["rows"], result["written"], result["unchanged"]) == (self.options.rows, good, 0), (
            result
        )
        assert self.stored(job) == good

    def stored(self, job: Job) -> int:
        """Return the number of rows of the job's store."""
        with self.pool.connection() as connection:
            row = connection.execute(
                f"SELECT count(*) FROM {self.table()} WHERE vector_store = %s", [job.input["vector_store"]]
            ).fetchone()
        assert row is not None
        return int(row[0])

    def table(self) -> str:
        """Return the name of the chunk table."""
        with self.pool.connection() as connection:
            row = connection.execute("SELECT 'vectors_' || name FROM vector_collections").fetchone()
        assert row is not None
        return str(row[0])

    def truncate(self) -> None:
        """Empty the table, and drop the approximate index, so that each load begins with the same state."""
        table = self.table()
        with self.pool.connection() as connection:
            connection.execute(f"TRUNCATE {table}")
            connection.execute(f"DROP INDEX IF EXISTS {table}_hnsw")
            connection.execute(f"ANALYZE {table}")

    def seconds_of_stages(self, job: Job) -> dict[str, float]:
        """Return the seconds of each stage of the job's last attempt."""
        with self.pool.connection() as connection:
            rows = connection.execute(
                "SELECT stage, extract(epoch FROM coalesce(ended_at, now()) - started_at)::float8"
                " FROM job_stages WHERE job = %s ORDER BY started_at",
                [job.id],
            ).fetchall()
        return dict(rows)


@dataclass
class Memory:
    """Records the memory of the worker and of its reading process, by the share of rows that are inserted."""

    rows: int
    seen: list[tuple[float, int]] = field(default_factory=list)

    def look(self, worker: int, done: int) -> None:
        """Read and record the current memory."""
        size = 0
        try:
            process = psutil.Process(worker)
            for one in (process, *process.children(recursive=True)):
                size += one.memory_info().rss
        except psutil.NoSuchProcess:
            return  # a process has just ended
        self.seen.append((done / self.rows, size))

    def at(self, shares: Sequence[float]) -> list[int]:
        """Return the largest memory near each share of the rows, in bytes."""
        return [
            max((size for seen, size in self.seen if abs(seen - share) <= 0.1), default=0) for share in shares
        ]


if __name__ == "__main__":
    raise SystemExit(main())
