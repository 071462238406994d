"""Divide the pages of a document into chunks.

This is the third stage of ingest, and a stage of the job that indexes a file.
"""

import json
from functools import cache

import pyarrow as pa

from cluster.documents.vector_stores.chunking import auto_chunk_tokens
from cluster.engines import Fingerprint
from cluster.page_structure import PLACE_NAMES
from cluster.records import Fact, Outcome
from cluster.settings import Settings
from cluster.vector_index.attributes import CONTEXT_CHARACTERS
from data_jobs.stages import process_resources
from data_jobs.stages.chunkers.chunk_places import ChunkPlaces
from data_jobs.stages.chunkers.contract import ChunkedDocument, Chunker
from data_jobs.stages.chunkers.table import DEFAULT_CHUNKER, find_chunker
from data_jobs.stages.document_row import CHUNKS, DocumentRow, pack, pages_of
from data_jobs.stages.map_rows import failed

#: If the model does not know this share of the text or more, the outcome is ``partial_text``.
LARGELY_UNKNOWN_SHARE = 0.2


@cache
def _open_chunker(settings: Settings, fingerprint: Fingerprint, name: str, max_tokens: int | None) -> Chunker:
    """Return the chunker that all rows of this process with these arguments share.

    The chunks are so small that the model's document prompt fits into the same input.
    """
    tokeniser = process_resources.tokeniser(settings, fingerprint)
    (prompt,) = tokeniser.ids([fingerprint.document_prompt])
    most = tokeniser.max_content_tokens - len(prompt)
    return find_chunker(name).open(
        tokeniser, fingerprint.id, max_tokens=min(max_tokens or auto_chunk_tokens(most), most)
    )


class Chunk:
    """Divides the pages of ``page_texts`` and ``structures`` into ``chunks``, each with its place. Both
    columns stay in the row for the keywords.

    If the model does not know a part of the text, records this in ``facts``, ``outcome`` and ``detail``.

    Args:
        settings: the settings of the job.
        fingerprint: fingerprint of the store's model.
        chunker: name of the chunker; see ``chunkers.table``.
        max_tokens: maximum number of tokens of a chunk, without special tokens; None means
            ``auto_chunk_tokens``.
    """

    def __init__(
        self,
        settings: Settings,
        fingerprint: Fingerprint,
        *,
        chunker: str = DEFAULT_CHUNKER,
        max_tokens: int | None = None,
    ) -> None:
        self.settings = settings
        self.fingerprint = fingerprint
        self.chunker = chunker
        self.max_tokens = max_tokens

    def __call__(self, row: DocumentRow) -> DocumentRow:
        chunker = _open_chunker(self.settings, self.fingerprint, self.chunker, self.max_tokens)
        pages = pages_of(row)
        chunked = chunker.chunk(row["document"], pages)
        chunks = chunked.chunks
        if not chunks:
            return failed(
                row,
                Outcome.EMPTY,
                "; ".join(filter(None, ["holds no text that can be embedded", row["detail"]])),
            )
        places = ChunkPlaces(pages)
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
    """Return the row. If the model does not know a part of the text, record this in the row."""
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
