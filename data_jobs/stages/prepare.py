"""The CPU half of the bulk pipeline as steps of a row: parse, chunk, extract keywords.

Each step wraps a plain stage of this folder and is cheap to send to a worker: what is costly stands in ``per_process``.
"""

import json

import pyarrow as pa

from cluster.records import Fact, Outcome, Page
from cluster.settings import Settings
from data_jobs.sources import file_name
from data_jobs.stages import per_process
from data_jobs.stages.chunk import Chunked
from data_jobs.stages.each_row import failed
from data_jobs.stages.keywords import spread
from data_jobs.stages.row import CHUNKS, Row, pack, unpack, with_chunk_column

#: From this share of the text on a document whose text the model does not know is no plain success.
LARGELY_UNKNOWN = 0.2


class Parse:
    """Needs ``content`` and ``source``; drops ``content``.

    Fills ``page_texts``, ``pages``, ``pages_with_text``, ``media_type``, ``facts``, and the outcome with its detail.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, row: Row) -> Row:
        parsed = per_process.parser(self.settings).parse(row["content"], name=file_name(row["source"]))
        row = {**row, "content": b"", "media_type": parsed.media_type, "pages": len(parsed.pages)}
        if not parsed.outcome.searchable:
            return failed(row, parsed.outcome, parsed.detail)
        row = {
            **row,
            "outcome": parsed.outcome,
            "detail": parsed.detail,
            "facts": json.dumps(dict(parsed.facts)),
        }
        texts = [page.text for page in parsed.pages]
        return {**row, "page_texts": texts, "pages_with_text": sum(bool(text.strip()) for text in texts)}


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

    def __call__(self, row: Row) -> Row:
        found = per_process.chunker(self.settings, self.fingerprint_id, self.max_tokens).chunked(
            row["document"], _pages(row)
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


class Keywords:
    """Needs ``page_texts`` and ``chunks``; fills ``keywords`` and those of each chunk; drops ``page_texts``."""

    def __init__(self, settings: Settings) -> None:
        self.per_document = settings.keywords_per_document

    def __call__(self, row: Row) -> Row:
        keywords = per_process.keyword_extractor(self.per_document).extract(_pages(row))
        chunks = unpack(row)
        of_each = spread(keywords, chunks["text"].to_pylist())
        row = {**row, "page_texts": [], "keywords": keywords}
        return with_chunk_column(row, chunks, "keywords", of_each)


def _told(row: Row, found: Chunked, model: str) -> Row:
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


def _pages(row: Row) -> list[Page]:
    return [Page(number=number, text=text) for number, text in enumerate(row["page_texts"], start=1)]
