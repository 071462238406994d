"""Divide a document's pages into chunks. Third stage of the bulk pipeline, and of the job that indexes a file."""

import json
from functools import cache

import pyarrow as pa

from cluster.engines import describe
from cluster.records import Fact, Outcome
from cluster.settings import Settings
from data_jobs.stages import process_resources
from data_jobs.stages.chunkers.content_defined import Chunked, Chunker
from data_jobs.stages.document_row import CHUNKS, DocumentRow, pack, pages_of
from data_jobs.stages.map_rows import failed

#: From this share of the text on a document whose text the model does not know is no plain success.
LARGELY_UNKNOWN = 0.2


@cache
def _chunker(settings: Settings, fingerprint_id: str, max_tokens: int | None) -> Chunker:
    """The chunker that all rows of this process share; chunks leave room for the model's document prompt."""
    tokeniser = process_resources.tokeniser(settings)
    (prompt,) = tokeniser.ids([describe(settings).document_prompt])
    most = tokeniser.max_content_tokens - len(prompt)
    return Chunker(tokeniser, fingerprint_id, max_tokens=min(max_tokens or most, most))


class Chunk:
    """Needs ``page_texts``; fills ``chunks``, and tells by ``facts`` and the outcome what the model does not know of the text.

    Keeps ``page_texts`` for the keywords.

    Args:
        max_tokens: most of a chunk, special tokens not counted; None: as many as the model reads.
    """

    def __init__(self, settings: Settings, fingerprint_id: str, *, max_tokens: int | None = None) -> None:
        self.settings = settings
        self.fingerprint_id = fingerprint_id
        self.max_tokens = max_tokens

    def __call__(self, row: DocumentRow) -> DocumentRow:
        found = _chunker(self.settings, self.fingerprint_id, self.max_tokens).chunked(
            row["document"], pages_of(row)
        )
        chunks = found.chunks
        if not chunks:
            return failed(
                row,
                Outcome.EMPTY,
                "; ".join(filter(None, ["holds no text that can be embedded", row["detail"]])),
            )
        table = {
            "id": [chunk.id for chunk in chunks],
            "page": [chunk.page for chunk in chunks],
            "start": [chunk.start for chunk in chunks],
            "end": [chunk.end for chunk in chunks],
            "text": [chunk.text for chunk in chunks],
            "keywords": [[] for _ in chunks],
            "token_ids": [chunk.token_ids for chunk in chunks],
            "stored": [False for _ in chunks],
        }
        return {**_told(row, found, self.settings.model), "chunks": pack(pa.table(table, schema=CHUNKS))}


def _told(row: DocumentRow, found: Chunked, model: str) -> DocumentRow:
    """The row, saying how much of the text is unknown to the model, where some is."""
    if found.unknown_tokens:
        row = {
            **row,
            "facts": json.dumps({**json.loads(row["facts"]), Fact.UNKNOWN_TOKENS: found.unknown_tokens}),
        }
    if found.unknown < LARGELY_UNKNOWN:
        return row
    sentence = (
        f"{found.unknown:.0%} of the text says nothing to the model {model}, so that searches by meaning miss it and only "
        "searches by words find it: choose a model that knows its language (CLUSTER_MODEL_PATH)"
    )
    return {
        **row,
        "outcome": Outcome.PARTIAL_TEXT,
        "detail": "; ".join(filter(None, [row["detail"], sentence])),
    }
