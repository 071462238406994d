"""Measures the stage that writes, in several processes at the same time."""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
from psycopg import sql
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.scaling.cpu_parts import COMMAND, POSTGRES, CpuParts
from benchmarks.scaling.words import paragraph
from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores import stores
from cluster.engines import Registry, describe
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from cluster.vector_index.collections import collection_name, find_collection
from cluster.vector_index.pgvector.index import PgvectorIndex
from data_jobs.stages.document_row import CHUNKS, DocumentRow, new_row, pack, to_table
from data_jobs.stages.write import Write

WORDS_PER_CHUNK = 150
SIZES = sql.SQL(
    "SELECT pg_total_relation_size(%s), pg_relation_size(%s || '_hnsw'), count(*),"
    " pg_database_size(current_database()) FROM {table}"
)


@dataclass(frozen=True)
class WritingRound:
    """The result of one round."""

    chunks_per_s: float
    #: CPU milliseconds a chunk, by part.
    cpu_ms: dict[str, float]


def run(options: argparse.Namespace) -> None:
    """Run the rounds, and print the table."""
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        os.chmod(home, 0o755)  # the bundled Postgres must read it, and runs as another user if we are root
        settings = Settings(home=Path(home), log_level="WARNING")
        rounds: dict[str, list[WritingRound]] = {}
        try:
            for _ in range(options.rounds):
                for count in options.writers:
                    rounds.setdefault(f"{count}", []).append(_round(settings, count, options))
            sizes = _bytes_per_chunk(settings)
            for _ in range(options.rounds):
                indexed = rounds.setdefault(f"{options.writers[-1]}, with the approximate index", [])
                indexed.append(_round(settings, options.writers[-1], options))
        finally:
            bundled.stop(settings)
    Console(width=110).print(_table(rounds, options.chunks), sizes)


def _round(settings: Settings, writers: int, options: argparse.Namespace) -> WritingRound:
    """Write the documents with this number of processes, and return the result."""
    with open_pool(settings, access=OWNER) as pool:
        with pool.connection() as connection:
            ensure_organisation(connection, settings.organisation)
            name, fingerprint = f"writing-{uuid4().hex[:8]}", describe(Registry(settings).default)
            store = stores.ensure_store(connection, settings.organisation, name, fingerprint=fingerprint)
        ChunkIndexes(settings, pool).of(store).ensure(store.collection, dim=fingerprint.dim)
    context = multiprocessing.get_context("spawn")
    ready, begin = context.Semaphore(0), context.Event()
    share = options.documents // writers
    processes = [
        context.Process(target=_write, args=(settings, store, share, options.chunks, ready, begin))
        for _ in range(writers)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    parts = CpuParts(settings)
    parts.start()
    started = time.perf_counter()
    begin.set()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    seconds = time.perf_counter() - started
    chunks = share * writers * options.chunks
    return WritingRound(
        chunks / seconds, {part: 1_000 * used / chunks for part, used in parts.used_s().items()}
    )


def _bytes_per_chunk(settings: Settings) -> str:
    """Build the approximate index, and return a sentence about the disk space of a chunk."""
    with open_pool(settings, access=OWNER) as pool, pool.connection() as connection:
        collection = find_collection(connection, collection_name(describe(Registry(settings).default)))
        connection.commit()
        started = time.perf_counter()
        PgvectorIndex(pool, index_from=1).optimise(collection)
        seconds = time.perf_counter() - started
        row = connection.execute(
            SIZES.format(table=sql.Identifier(collection.table)), [collection.table] * 2
        ).fetchone()
        assert row is not None
        whole, index, count, database = row
    table, approximate, all_tables = (f"{size / count / 1024:.1f} KiB" for size in (whole, index, database))
    return (
        f"{count:,} chunks take {table} of disk each with all indexes, {approximate} of them for the "
        f"approximate index, which was built in {seconds:.1f} s. The database takes {all_tables} a chunk."
    )


def _write(
    settings: Settings, store: stores.VectorStore, documents: int, chunks: int, ready: Any, begin: Any
) -> None:
    chance = random.Random(os.getpid())
    tables = [to_table([_document(chance, chunks, store.fingerprint.dim)]) for _ in range(documents)]
    write = Write(settings, store, job="job_benchmark", pipeline_version="1")
    # Not counted, because the first call also opens the connections.
    write(to_table([_document(chance, chunks, store.fingerprint.dim)]))
    ready.release()
    begin.wait()
    for table in tables:
        write(table)


def _document(chance: random.Random, chunks: int, dim: int) -> DocumentRow:
    id = f"doc_{chance.randbytes(12).hex()}"
    texts = [paragraph(chance, WORDS_PER_CHUNK) for _ in range(chunks)]
    vectors = np.random.default_rng(chance.randrange(2**32)).normal(size=(len(texts), dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns: dict[str, Any] = {
        **{name: [""] * len(texts) for name in CHUNKS.names},
        "id": [f"{id}-{number}" for number in range(len(texts))],
        "page": [number // 2 + 1 for number in range(len(texts))],
        "start": [0] * len(texts),
        "end": [len(text) for text in texts],
        "text": texts,
        "keywords": [text.split()[:5] for text in texts],
        "language": ["en"] * len(texts),
        "token_ids": [[1] * WORDS_PER_CHUNK for _ in texts],
        "stored": [False] * len(texts),
        "context_characters": [0] * len(texts),
    }
    row = new_row(id, f"s3://bench/{id}.pdf", "1")
    return {
        **row,
        "content_hash": chance.randbytes(32).hex(),
        "media_type": "application/pdf",
        "size": 100_000,
        "pages": len(texts) // 2,
        "pages_with_text": len(texts) // 2,
        "keywords": texts[0].split()[:10],
        "facts": json.dumps({"language": "en"}),
        "chunks": pack(pa.table(columns, schema=CHUNKS)),
        "vectors": vectors.tobytes(),
    }


def _table(rounds: dict[str, list[WritingRound]], chunks: int) -> Shown:
    table = Shown(title=f"Writing documents of {chunks} chunks; {os.cpu_count()} cores")
    for column in (
        "processes",
        "chunks/s",
        "best round",
        "Postgres, CPU ms a chunk",
        "stage, CPU ms a chunk",
    ):
        table.add_column(column, justify="left" if column == "processes" else "right")
    for name, results in rounds.items():
        rates = [one.chunks_per_s for one in results]
        cpu = {part: statistics.median(one.cpu_ms[part] for one in results) for part in results[0].cpu_ms}
        stage = sum(cpu.values()) - cpu[POSTGRES] - cpu[COMMAND]
        table.add_row(
            name,
            f"{statistics.median(rates):,.0f}",
            f"{max(rates):,.0f}",
            f"{cpu[POSTGRES]:.2f}",
            f"{stage:.2f}",
        )
    return table
