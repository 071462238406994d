"""Detect the language of a document and of its chunks, and extract the keywords of the document.

The keywords are extracted from a sample of the text. Each chunk gets the keywords that it contains.

YAKE: Campos et al., "YAKE! Keyword extraction from single documents using multiple local features",
Information Sciences 509 (2020).
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import structlog

from cluster.languages.detection import ENGLISH
from cluster.languages.document_language import document_language
from cluster.records import Fact, Page
from cluster.settings import Settings
from cluster.vector_index.words import SPACELESS
from data_jobs.stages import spaceless_keywords
from data_jobs.stages.document_row import DocumentRow, pages_of, unpack, with_chunk_column

log = structlog.get_logger(__name__)

#: Increase this number if a code change gives other languages or keywords for the same text.
KEYWORDS_VERSION = "2"
#: Maximum number of characters of the sample. The sample is limited, because YAKE's time grows with the text.
SAMPLE_CHARACTERS = 12_000
#: Number of pieces of the sample. The pieces are spread evenly over the document.
SAMPLE_PIECES = 6
MAX_WORDS_PER_KEYWORD = 2
#: Two keywords with a higher similarity count as the same keyword.
SAME_KEYWORD_SIMILARITY = 0.8

#: The languages for which YAKE has stop words, by ISO 639 code, with YAKE's own code of the language.
STOP_WORDS = {
    **{
        code: code
        for code in (
            "ar bg da de el en es et fa fi fr hi hr hu hy id it ja lt lv nl no pl pt ro ru sk sl sv tr uk zh"
        ).split()
    },
    "cs": "cz",
}
#: Maximum number of extractors in memory, each for a different set of languages.
MAX_EXTRACTORS = 16
#: Matches letters of scripts without spaces between words.
WITHOUT_SPACES = re.compile(f"[{SPACELESS}]+")


class Keywords:
    """Detects the language of ``page_texts`` and extracts keywords from them. Empties ``page_texts`` and
    ``structures`` in the row.

    Fills ``keywords``, and for each of ``chunks`` the chunk's language and the keywords that occur in the
    chunk. Adds the language to ``facts``.
    """

    def __init__(self, settings: Settings) -> None:
        self.per_document = settings.keywords_per_document

    def __call__(self, row: DocumentRow) -> DocumentRow:
        language = document_language(row["page_texts"])
        extractor = _extractor(self.per_document, stop_words_of(language.languages))
        keywords = extractor.extract(pages_of(row))
        chunks = unpack(row)
        texts = chunks["text"].to_pylist()
        facts = {**json.loads(row["facts"]), Fact.LANGUAGE: language.code}
        row = {
            **row,
            "page_texts": [],
            "structures": [],
            "keywords": keywords,
            "facts": json.dumps(facts),
        }
        row = with_chunk_column(row, chunks, "language", list(map(language.of_chunk, texts)))
        return with_chunk_column(row, unpack(row), "keywords", find_in_texts(keywords, texts))


def stop_words_of(languages: Iterable[str]) -> tuple[str, ...]:
    """Return YAKE's codes of the languages whose stop words are used for a document in these languages.

    If YAKE knows none of the languages, no stop words are used. If the language of the document is not known,
    English stop words are used, because such a document is often a table with English words.
    """
    languages = set(languages) or {ENGLISH}
    return tuple(sorted(STOP_WORDS[language] for language in languages & STOP_WORDS.keys()))


class KeywordExtractor:
    """Extracts keywords from pages.

    Args:
        per_document: maximum number of keywords.
        languages: YAKE's codes of the languages whose stop words are used, see ``STOP_WORDS``.
    """

    def __init__(self, per_document: int, *, languages: Sequence[str] = (ENGLISH,)) -> None:
        import yake  # noqa: PLC0415  the import takes 0.3 s (networkx), and most processes extract no keywords

        self._per_document = per_document
        self._stop_words = {
            language: yake.KeywordExtractor(lan=language).stopword_set for language in languages
        }
        self._yake = yake.KeywordExtractor(
            n=MAX_WORDS_PER_KEYWORD,
            dedup_lim=SAME_KEYWORD_SIMILARITY,
            top=max(1, per_document),
            stopwords=set().union(*self._stop_words.values()),
        )

    def extract(self, pages: Sequence[Page]) -> list[str]:
        """Return at most ``per_document`` keywords in lower case, best first; no keywords if YAKE fails."""
        if not self._per_document:
            return []
        text = sample("\n".join(page.text for page in pages))
        keywords = [
            keyword
            for language in self._stop_words.keys() & spaceless_keywords.LANGUAGES
            for keyword in spaceless_keywords.spaceless_keywords(
                text, language, stop_words=self._stop_words[language], most=self._per_document
            )
        ]
        text = WITHOUT_SPACES.sub(" ", text)  # YAKE would take a clause for a word
        try:
            found = self._yake.extract_keywords(text)
        except Exception:  # a document without keywords is still useful
            log.exception("keywords_failed")
            return []
        keywords += [keyword.lower() for keyword, _ in found]
        return list(dict.fromkeys(keywords))[: self._per_document]


@lru_cache(MAX_EXTRACTORS)
def _extractor(per_document: int, languages: tuple[str, ...]) -> KeywordExtractor:
    """Return the extractor that all documents in these languages share in this process, because the tables of
    YAKE load slowly.
    """
    return KeywordExtractor(per_document, languages=languages)


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

    In scripts without spaces between words, a keyword may be a part of a longer sequence of letters.
    """
    if not keywords:
        return [[] for _ in texts]
    patterns = [(keyword, _whole_word(keyword)) for keyword in keywords]
    lowered = (re.sub(r"\s+", " ", text.lower()) for text in texts)
    return [[keyword for keyword, pattern in patterns if pattern.search(text)] for text in lowered]


def _whole_word(keyword: str) -> re.Pattern[str]:
    before = "" if WITHOUT_SPACES.match(keyword) else r"(?<!\w)"
    after = "" if WITHOUT_SPACES.match(keyword[-1:]) else r"(?!\w)"
    return re.compile(f"{before}{re.escape(keyword)}{after}")
