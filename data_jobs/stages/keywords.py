"""Extract the keywords of a document from a sample of its text, and find which keywords each chunk contains.

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

#: Maximum number of characters of the sample. The sample is limited, because YAKE's time grows with the text.
SAMPLE_CHARACTERS = 12_000
#: Number of pieces of the sample. The pieces are spread evenly over the document.
SAMPLE_PIECES = 6
MAX_WORDS_PER_KEYWORD = 2
#: Two keywords with a higher similarity count as the same keyword.
SAME_KEYWORD_SIMILARITY = 0.8


class Keywords:
    """Extracts keywords from ``page_texts``, and empties ``page_texts`` and ``structures`` in the row.

    Fills ``keywords``, and for each of ``chunks`` the keywords that occur in the chunk.
    """

    def __init__(self, settings: Settings) -> None:
        self.per_document = settings.keywords_per_document

    def __call__(self, row: DocumentRow) -> DocumentRow:
        keywords = _extractor(self.per_document).extract(pages_of(row))
        chunks = unpack(row)
        keywords_of_chunks = find_in_texts(keywords, chunks["text"].to_pylist())
        row = {**row, "page_texts": [], "structures": [], "keywords": keywords}
        return with_chunk_column(row, chunks, "keywords", keywords_of_chunks)


class KeywordExtractor:
    """Extracts keywords from pages."""

    def __init__(self, per_document: int, *, language: str = "en") -> None:
        import yake  # noqa: PLC0415  the import takes 0.3 s (networkx), and most processes extract no keywords

        self._per_document = per_document
        self._yake = yake.KeywordExtractor(
            lan=language, n=MAX_WORDS_PER_KEYWORD, dedupLim=SAME_KEYWORD_SIMILARITY, top=max(1, per_document)
        )

    def extract(self, pages: Sequence[Page]) -> list[str]:
        """Return at most ``per_document`` keywords in lower case, best first. If YAKE fails, return none."""
        if not self._per_document:
            return []
        try:
            found = self._yake.extract_keywords(sample("\n".join(page.text for page in pages)))
        except Exception:  # a document without keywords is still useful
            log.exception("keywords_failed")
            return []
        return list(dict.fromkeys(keyword.lower() for keyword, _ in found))


@cache
def _extractor(per_document: int) -> KeywordExtractor:
    """Return the extractor that all rows of this process share, because the tables of YAKE load slowly."""
    return KeywordExtractor(per_document)


def sample(text: str) -> str:
    """Return the text or, if the text is long, evenly spaced pieces of the text."""
    if len(text) <= SAMPLE_CHARACTERS:
        return text
    piece = SAMPLE_CHARACTERS // SAMPLE_PIECES
    step = (len(text) - piece) // (SAMPLE_PIECES - 1)
    return "\n".join(text[start : start + piece] for start in range(0, len(text) - piece + 1, step))


def find_in_texts(keywords: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
    """Return, for each text, the keywords that occur in the text as whole words, in the order of
    ``keywords``.
    """
    if not keywords:
        return [[] for _ in texts]
    patterns = [(keyword, re.compile(rf"(?<!\w){re.escape(keyword)}(?!\w)")) for keyword in keywords]
    lowered = (re.sub(r"\s+", " ", text.lower()) for text in texts)
    return [[keyword for keyword, pattern in patterns if pattern.search(text)] for text in lowered]
