"""Detect the language of a document and, if the document has several languages, the language of each chunk.

The stage ``keywords`` calls this module for each document, before the stage extracts the keywords.

    found = document_language(["Die Pumpe fördert Wasser aus dem Brunnen in den Behälter ..."])
    found.code                                  # "de"
    found.of_chunk("Die Pumpe ...")             # "de"
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.languages.detection import UNDETERMINED, classify

#: ISO 639 code of a document in several languages.
MULTIPLE = "mul"
#: Minimum confidence of py3langid for a piece of a document. With this minimum, 0.7% of the pieces of 80
#: characters of the Universal Declaration of Human Rights in 45 languages had a wrong language; without a
#: minimum, 4.2%. Names, numbers and tables rarely reach the minimum.
MIN_CONFIDENCE = 0.9
#: Maximum number of pieces of a document whose language is detected. The pieces are spread evenly over the
#: document.
PIECES = 8
#: Length of a piece in characters. With longer pieces, the detected language is nearly always the same.
PIECE_CHARACTERS = 300
#: A document has one language if at least this share of its pieces with a known language has this language.
ONE_LANGUAGE_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class DocumentLanguage:
    """The language of a document."""

    #: ISO 639 code; ``mul`` for several languages, and ``und`` if the language is not known.
    code: str
    #: The languages that were detected in the document's pieces; empty if no language is known.
    languages: Sequence[str] = ()

    def of_chunk(self, text: str) -> str:
        """Return the language of a chunk of the document.

        If the document has several languages, the language of the chunk is detected. If the chunk's language
        is not clear, the chunk has the language of the document, or ``und`` in a document without a main
        language.
        """
        if len(self.languages) < 2:
            return self.code
        found = text_language(text)
        if found == UNDETERMINED and self.code != MULTIPLE:
            return self.code
        return found


def document_language(texts: Sequence[str]) -> DocumentLanguage:
    """Detect the language of a document from evenly spread pieces of its pages' texts."""
    pieces = _pieces("\n".join(texts))
    sure = Counter(language for language in map(text_language, pieces) if language != UNDETERMINED)
    if not sure:
        language = _sure(" ".join(pieces))
        return DocumentLanguage(language, () if language == UNDETERMINED else (language,))
    language, pieces_of_language = sure.most_common(1)[0]
    one = pieces_of_language >= ONE_LANGUAGE_SHARE * sure.total()
    return DocumentLanguage(language if one else MULTIPLE, tuple(sure))


def text_language(text: str) -> str:
    """Return the language of the first ``PIECE_CHARACTERS`` characters of a text; ``und`` if it is not
    clear.
    """
    return _sure(text[:PIECE_CHARACTERS])


def _sure(text: str) -> str:
    language, confidence = classify(text)
    return language if confidence >= MIN_CONFIDENCE else UNDETERMINED


def _pieces(text: str) -> list[str]:
    """Return a short text as one piece, and pieces of a long text that are spread evenly over the text."""
    if len(text) <= 2 * PIECE_CHARACTERS:
        return [text]
    count = min(PIECES, len(text) // PIECE_CHARACTERS)
    step = (len(text) - PIECE_CHARACTERS) // (count - 1)
    return [text[start : start + PIECE_CHARACTERS] for start in range(0, step * count, step)]
