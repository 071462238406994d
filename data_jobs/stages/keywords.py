"""Keywords of a document by YAKE, on a bounded sample, and which of them occur in each chunk.

YAKE: Campos et al., "YAKE! Keyword extraction from single documents using multiple local features",
Information Sciences 509 (2020).
"""

import re
from collections.abc import Sequence
from functools import cache

import structlog

from cluster.records import Page
from cluster.settings import Settings
from data_jobs.stages.document_row import DocumentRow, pages_of, unpack, with_chunk_column

log = structlog.get_logger(__name__)

#: YAKE's time grows with the text; this much is read, in pieces spread evenly over the document.
SAMPLE_CHARACTERS = 12_000
SAMPLE_PIECES = 6
LONGEST_KEYWORD_WORDS = 2
#: Keywords more alike than this are one.
ALIKE = 0.8


class Keywords:
    """Needs ``page_texts`` and ``chunks``; fills ``keywords`` and those of each chunk; drops ``page_texts``."""

    def __init__(self, settings: Settings) -> None:
        self.per_document = settings.keywords_per_document

    def __call__(self, row: DocumentRow) -> DocumentRow:
        keywords = _extractor(self.per_document).extract(pages_of(row))
        chunks = unpack(row)
        of_each = spread(keywords, chunks["text"].to_pylist())
        row = {**row, "page_texts": [], "keywords": keywords}
        return with_chunk_column(row, chunks, "keywords", of_each)


class KeywordExtractor:
    """Pages to keywords, best first."""

    def __init__(self, per_document: int, *, language: str = "en") -> None:
        import yake  # noqa: PLC0415  networkx: 0.3 s, and most processes extract none

        self._per_document = per_document
        self._yake = yake.KeywordExtractor(
            lan=language, n=LONGEST_KEYWORD_WORDS, dedupLim=ALIKE, top=max(1, per_document)
        )

    def extract(self, pages: Sequence[Page]) -> list[str]:
        """At most ``per_document`` keywords in lower case; none where the text gives none."""
        if not self._per_document:
            return []
        try:
            found = self._yake.extract_keywords(sample("\n".join(page.text for page in pages)))
        except Exception:  # a library of statistics over any text: keywords are no reason to lose a document
            log.exception("keywords_failed")
            return []
        return list(dict.fromkeys(keyword.lower() for keyword, _ in found))


@cache
def _extractor(per_document: int) -> KeywordExtractor:
    """The extractor that all rows of this process share; loading its tables takes a while."""
    return KeywordExtractor(per_document)


def sample(text: str) -> str:
    """The text, or pieces of it from beginning to end."""
    if len(text) <= SAMPLE_CHARACTERS:
        return text
    piece = SAMPLE_CHARACTERS // SAMPLE_PIECES
    step = (len(text) - piece) // (SAMPLE_PIECES - 1)
    return "\n".join(text[start : start + piece] for start in range(0, len(text) - piece + 1, step))


def spread(keywords: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
    """For each text those of the keywords that occur in it as words, in their order."""
    if not keywords:
        return [[] for _ in texts]
    patterns = [(keyword, re.compile(rf"(?<!\w){re.escape(keyword)}(?!\w)")) for keyword in keywords]
    lowered = (re.sub(r"\s+", " ", text.lower()) for text in texts)
    return [[keyword for keyword, pattern in patterns if pattern.search(text)] for text in lowered]
