"""Chunk, compare and embed in one stage, for a chunker that needs vectors of parts of the document.

The stage uses one engine for the vectors of the parts and of the chunks, so a node loads the model once.
"""

from typing import Any

import pyarrow as pa

from cluster.documents.vector_stores.stores import VectorStore
from cluster.settings import Settings
from data_jobs.stages.chunk import Chunk
from data_jobs.stages.compare import Compare
from data_jobs.stages.embed import Embed
from data_jobs.stages.keywords import Keywords
from data_jobs.stages.map_rows import map_rows


class ChunkAndEmbed(Embed):
    """Does the work of ``Chunk``, ``Keywords``, ``Compare`` and ``Embed``. See ``Embed`` for the errors.

    Args:
        settings: the settings of the job.
        store: the vector store. Its ``chunking_strategy`` chooses the chunker.
        job: id of the job.
        fields: fields to add to every log line.
    """

    def __init__(self, settings: Settings, store: VectorStore, *, job: str, **fields: str) -> None:
        super().__init__(settings, store.fingerprint, job=job, **fields)
        chunk = Chunk(settings, store.fingerprint, strategy=store.chunking_strategy, embed=self._vectors)
        stages: list[Any] = [chunk, Keywords(settings), Compare(settings, store, job=job)]
        self.before = [map_rows(stage, settings, job=job, **fields) for stage in stages]

    def __call__(self, table: pa.Table) -> pa.Table:
        for stage in self.before:
            table = stage(table)
        return super().__call__(table)
