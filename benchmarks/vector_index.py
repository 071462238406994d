"""Compare the pgvector adapter with raw ``COPY``, and its approximate search with its exact search.

    python -m benchmarks.vector_index

- writing: ``upsert`` in one process, against one binary ``COPY`` of the same rows into an equal table with
  the same indexes. ``COPY`` checks nothing, and cannot be repeated;
- repeating: the same ``upsert`` again, which changes nothing;
- searching: 384-dimensional clustered vectors and queries, in the modes ``exact`` and ``ann``, without a
  filter and with one that a row in fifty passes; recall@10 against ``exact``.

Writing rounds are interleaved, and the medians of rows/s and of the rounds' ratios are printed.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.table import Table

from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks.bulk_load import bulk_load
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.settings import Settings
from cluster.vector_index import Mode

DIM, K = 384, 10
WORDS = (
    "pump valve stop open close red pressure water motor check "
    "line safety filter oil hand wheel seal gauge drain start"
).split()
RARE = {"type": "eq", "key": "rare", "value": True}
PLACE = ("default", "bench")


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000, help="rows searched (default: %(default)s)")
    parser.add_argument(
        "--written", type=int, default=5_000, help="rows written in each round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of writing (default: %(default)s)")
    parser.add_argument(
        "--queries", type=int, default=100, help="queries of each kind (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        os.chmod(home, 0o755)  # the bundled Postgres runs as another user when we are root
        settings = Settings(home=Path(home), log_level="WARNING")
        try:
            with open_pool(settings, access=OWNER) as pool:
                index = open_chunk_index(settings, pool)
                Console().print(writing(index, pool, arguments.written, arguments.rounds))
                Console().print(searching(index, arguments.rows, arguments.queries))
        finally:
            bundled.stop(settings)
    return 0


def writing(index: ChunkIndex, pool: ConnectionPool, count: int, rounds: int) -> Table:
    """The table of writing: rows/s of COPY, of upsert, and of the same upsert again."""
    rows = list(made(count))
    seconds: dict[str, list[float]] = {"raw COPY": [], "upsert": [], "upsert again": []}
    for _ in range(rounds):
        copied, upserted = (f"b{uuid4().hex[:8]}" for _ in range(2))
        for name in (copied, upserted):
            index.ensure(name, dim=DIM)
        seconds["raw COPY"].append(timed(lambda name=copied: copy(pool, name, rows)))  # type: ignore[misc]
        for kind in ("upsert", "upsert again"):
            seconds[kind].append(timed(lambda name=upserted: index.upsert(*PLACE, rows, collection=name)))  # type: ignore[misc]
    table = Table(title=f"Writing {count:,} rows of {DIM} numbers, medians of {rounds} rounds")
    for column in ("", "rows/s", "of raw COPY"):
        table.add_column(column, justify="right" if column else "left")
    for kind, times in seconds.items():
        ratios = [base / mine for base, mine in zip(seconds["raw COPY"], times, strict=True)]
        table.add_row(kind, f"{count / statistics.median(times):,.0f}", f"{statistics.median(ratios):.2f}")
    return table


def searching(index: ChunkIndex, count: int, queries: int) -> Table:
    """The table of searching: milliseconds and recall of exact and approximate search."""
    name = f"b{uuid4().hex[:8]}"
    index.ensure(name, dim=DIM)
    loading = timed(lambda: bulk_load(index, *PLACE, made(count), collection=name))
    asked = [row.vector for row in made(queries, seed=1) if row.vector is not None]
    table = Table(
        title=f"Searching {count:,} rows of {DIM} numbers, k={K}, {queries} queries; "
        f"loaded and indexed in {loading:.0f} s"
    )
    for column in ("", "p50 ms", "p95 ms", f"recall@{K}"):
        table.add_column(column, justify="right" if column else "left")
    for what, chosen in (("", None), (", filter passing 2 %", RARE)):
        found: dict[Mode, list[set[str]]] = {"exact": [], "ann": []}
        for mode, hits in found.items():
            times = []
            for vector in asked:
                began = time.perf_counter()
                answer = index.search(*PLACE, collection=name, vector=vector, k=K, filter=chosen, mode=mode)
                times.append((time.perf_counter() - began) * 1_000)
                hits.append({hit.id for hit in answer})
            recall = sum(len(a & b) for a, b in zip(found["exact"], hits, strict=True)) / (K * queries)
            p95 = statistics.quantiles(times, n=20)[-1]
            table.add_row(mode + what, f"{statistics.median(times):.1f}", f"{p95:.1f}", f"{recall:.3f}")
    return table


def made(count: int, *, seed: int = 0) -> Iterator[ChunkRecord]:
    """Rows with clustered vectors of unit length, like embeddings, and texts of the length of a chunk."""
    centres = np.random.default_rng(99).normal(size=(500, DIM))
    chance = np.random.default_rng(seed)
    for n in range(count):
        vector = centres[chance.integers(len(centres))] + 0.7 * chance.normal(size=DIM)
        yield ChunkRecord(
            id=f"{seed}-{n:07}",
            document=f"d{n // 50}",
            text=" ".join(f"{word}{chance.integers(50)}" for word in chance.choice(WORDS, 150)),
            attributes={
                "source": f"/manuals/{n // 50}.pdf",
                "page": n % 50,
                "start": 0,
                "end": 900,
                "rare": n % 50 == 0,
            },
            vector=unit(vector),
        )


def unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    """The vector scaled to unit length."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def copy(pool: ConnectionPool, collection: str, rows: list[ChunkRecord]) -> None:
    """Write all rows with one COPY."""
    with pool.connection() as connection, connection.cursor() as cursor:
        columns = "organisation, vector_store, id, document, text, attributes, embedding"
        with cursor.copy(f"COPY vectors_{collection} ({columns}) FROM STDIN (FORMAT binary)") as into:
            into.set_types(["text", "text", "text", "text", "text", "jsonb", "vector"])
            for row in rows:
                into.write_row((*PLACE, row.id, row.document, row.text, Jsonb(row.attributes), row.vector))


def timed(work: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())
