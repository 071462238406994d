"""Divide the pages of a document into chunks.

This is the third stage of ingest, and a stage of the job that indexes a file.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.documents.vector_stores.chunking import Chunking
from cluster.engines import Fingerprint
from cluster.errors import InvalidInput
from cluster.page_structure import PLACE_NAMES
from cluster.records import Fact, Outcome
from cluster.settings import Settings
from cluster.vector_index.attributes import CONTEXT_CHARACTERS
from data_jobs.stages import process_resources
from data_jobs.stages.chunkers.chunk_places import ChunkPlaces
from data_jobs.stages.chunkers.contract import ChunkedDocument, Chunker, PreparedChunks
from data_jobs.stages.chunkers.table import chunker_for
from data_jobs.stages.document_row import CHUNKS, DocumentRow, pack, pages_of
from data_jobs.stages.map_rows import failed

#: If the model does not know this share of the text or more, the outcome is ``partial_text``.
LARGELY_UNKNOWN_SHARE = 0.2


@cache
def _open_chunker(settings: Settings, fingerprint: Fingerprint, strategy: str) -> Chunker:
    """Return the chunker that all rows of this process with these arguments share; ``strategy`` is JSON.

    The chunks are so small that the model's document prompt fits into the same input.
    """
    tokeniser = process_resources.tokeniser(settings, fingerprint)
    (prompt,) = tokeniser.ids([fingerprint.document_prompt])
    chosen = json.loads(strategy)
    used = Chunking.used(chosen, most=tokeniser.max_content_tokens - len(prompt))
    return chunker_for(chosen).open(
        tokeniser, fingerprint.id, max_tokens=used.max_tokens, overlap_tokens=used.overlap_tokens
    )


class Chunk:
    """Divides the pages of ``page_texts`` and ``structures`` into ``chunks``, each with its place. Both
    columns stay in the row for the keywords.

    If the model does not know a part of the text, records the number of unknown tokens in ``facts``. If this
    part is large, also changes ``outcome`` and ``detail``. If the chunker needs vectors, adds the number of
    tokens that the model reads for these vectors to ``chunker_tokens``.

    Args:
        settings: the settings of the job.
        fingerprint: fingerprint of the store's model.
        strategy: the ``chunking_strategy`` of the store or the file; None means ``auto``.
        embed: computes the vectors that a chunker needs (``ChunkerEntry.needs_vectors``). A caller without
            this function calls ``prepare`` and ``finish`` in place of the stage.
    """

    def __init__(
        self,
        settings: Settings,
        fingerprint: Fingerprint,
        *,
        strategy: Mapping[str, Any] | None = None,
        embed: Callable[[list[NDArray[np.int32]]], NDArray[np.float32]] | None = None,
    ) -> None:
        self.settings = settings
        self.fingerprint = fingerprint
        self.strategy = json.dumps(strategy)
        self.embed = embed

    def __call__(self, row: DocumentRow) -> DocumentRow:
        prepared = self.prepare(row)
        vectors = np.empty((0, self.fingerprint.dim), dtype=np.float32)
        if prepared.inputs:
            if self.embed is None:
                raise InvalidInput(f"the chunking_strategy {self.strategy} needs a model in this stage")
            vectors = self.embed(prepared.inputs)
        return self.finish(row, prepared, vectors)

    def prepare(self, row: DocumentRow) -> PreparedChunks:
        """Return the prepared chunks: the parts that need vectors, and the function that makes the chunks."""
        chunker = _open_chunker(self.settings, self.fingerprint, self.strategy)
        return chunker.prepared(row["document"], pages_of(row))

    def finish(self, row: DocumentRow, prepared: PreparedChunks, vectors: NDArray[np.float32]) -> DocumentRow:
        """Return the row with its chunks, or with the outcome ``empty`` if the document has no chunks.

        ``vectors`` are the vectors of ``prepared.inputs``.
        """
        special = process_resources.special_tokens(self.settings, self.fingerprint)
        tokens = sum(len(ids) + special for ids in prepared.inputs)
        row = {**row, "chunker_tokens": row["chunker_tokens"] + tokens}
        chunked = prepared.finish(vectors)
        chunks = chunked.chunks
        if not chunks:
            return failed(
                row,
                Outcome.EMPTY,
                "; ".join(filter(None, ["holds no text that can be embedded", row["detail"]])),
            )
        places = ChunkPlaces(pages_of(row))
        found = [places.of(chunk.page, chunk.start, chunk.end) for chunk in chunks]
        table = {
            "id": [chunk.id for chunk in chunks],
            "page": [chunk.page for chunk in chunks],
            "start": [chunk.start for chunk in chunks],
            "end": [chunk.end for chunk in chunks],
            "text": [chunk.indexed_text for chunk in chunks],
            "keywords": [[] for _ in chunks],
            "language": ["" for _ in chunks],
            "token_ids": [chunk.token_ids for chunk in chunks],
            "stored": [False for _ in chunks],
            **{name: [getattr(place, name) for place in found] for name in PLACE_NAMES},
            CONTEXT_CHARACTERS: [len(chunk.indexed_text) - len(chunk.text) for chunk in chunks],
        }
        return {
            **_with_unknown_text(row, chunked, self.fingerprint.model),
            "chunks": pack(pa.table(table, schema=CHUNKS)),
        }


def _with_unknown_text(row: DocumentRow, chunked: ChunkedDocument, model: str) -> DocumentRow:
    """Return the row, with the number of unknown tokens if there are any, and with the outcome
    ``partial_text`` if a large part of the text is unknown.
    """
    if chunked.unknown_tokens:
        row = {
            **row,
            "facts": json.dumps({**json.loads(row["facts"]), Fact.UNKNOWN_TOKENS: chunked.unknown_tokens}),
        }
    if chunked.unknown_share < LARGELY_UNKNOWN_SHARE:
        return row
    sentence = (
        f"{chunked.unknown_share:.0%} of the text is unknown to the model {model}: searches by meaning miss "
        "it, and only searches by words find it; choose a model that knows its language (CLUSTER_MODEL_PATH)"
    )
    return {
        **row,
        "outcome": Outcome.PARTIAL_TEXT,
        "detail": "; ".join(filter(None, [row["detail"], sentence])),
    }
