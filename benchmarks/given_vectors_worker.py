"""Run the worker of ``benchmarks.given_vectors``, which does jobs of the kind ``bulk_insert_vectors``.

python -m benchmarks.given_vectors_worker HOME [--without-index]
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from cluster.blobs import open_blob_store
from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore
from cluster.jobs.kinds import BULK_INSERT_VECTORS
from cluster.settings import Settings
from cluster.vector_index.pgvector.index import PgvectorIndex
from data_jobs.kinds.bulk_insert_vectors import BulkInsertVectors
from data_jobs.kinds.resources import Resources
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.parser_pool import Parsers

LEASE_S = 10.0
#: Number of rows from which an approximate index is built. No collection has so many rows.
NO_INDEX_FROM = 10**12


class WithoutApproximateIndex(ChunkIndexes):
    """Opens the index of pgvector so that no approximate index is built."""

    def of(self, store: VectorStore) -> ChunkIndex:
        """Return the chunk index, which is the same for every store."""
        del store
        return ChunkIndex(self._pool, PgvectorIndex(self._pool, index_from=NO_INDEX_FROM))


class NoModel:
    """Replaces the models, which this kind of job does not use."""

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"a job of given vectors asked for a model: {arguments}, {options}")


async def work(home: Path, without_index: bool) -> None:
    """Run jobs."""
    settings = Settings(home=home, log_level="ERROR", lease_s=LEASE_S)
    with open_pool(settings, access=OWNER) as pool:
        consumer = Consumer(settings, kinds={}, name="bench")
        indexes = (WithoutApproximateIndex if without_index else ChunkIndexes)(settings, pool)
        resources = Resources(
            blobs=open_blob_store(settings),
            indexes=indexes,
            parsers=Parsers(settings, consumer.threads, 1),
            embed=NoModel(),
            answer=NoModel(),
        )
        consumer.kinds[BULK_INSERT_VECTORS.name] = BulkInsertVectors(resources)
        await consumer.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path, help="home of the benchmark")
    parser.add_argument("--without-index", action="store_true", help="build no approximate index")
    options = parser.parse_args()
    asyncio.run(work(options.home, options.without_index))
