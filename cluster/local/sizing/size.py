"""Compute the size of a cluster from its load. ``docs/sizing.md`` shows the same arithmetic with numbers.

size_of(ClusterLoad(documents_per_hour=1_000), Figures()).cores
"""

import math
from dataclasses import dataclass

from cluster.local.sizing.figures import Figures

MS_PER_HOUR = 3_600_000
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class ClusterLoad:
    """Describes the work that the cluster has to do."""

    #: New or changed documents in an hour.
    documents_per_hour: float = 0.0
    #: Documents in all vector stores together.
    documents: float = 0.0
    pages_per_document: float = 8.0
    #: Searches in a second.
    searches_per_s: float = 0.0
    #: Requests to embed one sentence in a second.
    embeddings_per_s: float = 0.0
    #: Number of numbers in a vector.
    dimensions: int = 384
    #: True if the engines of bulk jobs and of workers run on GPUs.
    on_gpus: bool = False


@dataclass(frozen=True, kw_only=True)
class ClusterSize:
    """Describes what the load needs, with room for peaks."""

    #: Chunks that the workers write in a second.
    chunks_per_s: float
    #: Cores for the stages before and after the engine.
    stage_cores: float
    #: Cores for the engines; 0 if the engines run on GPUs.
    engine_cores: float
    #: Cores for searches and for embeddings of sentences.
    request_cores: float
    gpus: int
    #: Cores of the machine with Postgres.
    postgres_cores: float
    chunks: float
    disk_gib: float
    #: Memory that Postgres needs to keep the approximate index of the vectors in its cache.
    index_gib: float

    @property
    def cores(self) -> float:
        """Cores of all workers together, without Postgres."""
        return self.stage_cores + self.engine_cores + self.request_cores

    def workers(self, cores_of_a_worker: int) -> int:
        """Return the number of machines with this number of cores, at least 1. The machine of Postgres is not
        counted.
        """
        return max(1, math.ceil(self.cores / cores_of_a_worker))


def size_of(load: ClusterLoad, figures: Figures) -> ClusterSize:
    """Compute the size of the cluster from the load and the figures."""
    pages_per_s = load.documents_per_hour * load.pages_per_document / 3_600
    chunks_per_s = pages_per_s * figures.chunks_per_page
    tokens_per_s = pages_per_s * figures.tokens_per_page
    chunks = load.documents * load.pages_per_document * figures.chunks_per_page

    def cores(ms_per_s: float) -> float:
        return ms_per_s / 1_000 / figures.busy_share

    postgres_ms = (
        chunks_per_s * figures.postgres_ms_per_chunk + load.searches_per_s * figures.postgres_ms_per_search
    )
    requests_ms = (
        load.searches_per_s * figures.ms_per_search + load.embeddings_per_s * figures.ms_per_embedding
    )
    vector_bytes = load.dimensions * figures.bytes_per_number
    return ClusterSize(
        chunks_per_s=chunks_per_s,
        stage_cores=cores(pages_per_s * figures.stage_ms_per_page),
        engine_cores=0.0 if load.on_gpus else tokens_per_s / figures.tokens_per_core_s / figures.busy_share,
        request_cores=cores(requests_ms),
        gpus=math.ceil(tokens_per_s / figures.tokens_per_gpu_s / figures.busy_share) if load.on_gpus else 0,
        postgres_cores=cores(postgres_ms),
        chunks=chunks,
        disk_gib=chunks * (figures.bytes_per_chunk + vector_bytes) / GIB,
        index_gib=chunks * figures.index_bytes(load.dimensions) / GIB,
    )
