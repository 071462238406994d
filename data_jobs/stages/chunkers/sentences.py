"""Find the beginnings of sentences with a few rules. The spans between the beginnings cover the whole text.

boundaries("One. Two.")   # array of the offsets at which sentences begin: [0, 5]
"""

import re

import numpy as np
from numpy.typing import NDArray

#: Words whose full stop does not end a sentence.
ABBREVIATIONS = frozenset(
    "al approx art ca cf ch co corp dept dr ed eds e.g eq eqs est etc fig figs i.e inc jr lt ltd mr "
    "mrs ms no nos nr op p pp prof ref refs rev sec sect sr st v vol vs viz".split()
)
#: Punctuation marks that always end a sentence. The Latin full stop is not one of them, because it also
#: follows abbreviations. The marks are those of Chinese, Japanese, Devanagari, Arabic, Urdu, Armenian,
#: Ethiopic, Burmese and Khmer.
MARKS = "。！？｡।॥؟۔։።၊။។៕"
#: A mark that may end a sentence, the closing signs after the mark, and the space before the next sentence. A
#: match starts only at the start of a run of marks and never backtracks, so a line of a million dots is read
#: once. The marks come first in the pattern, because this order makes the search faster.
END = re.compile(
    rf"[.!?…{MARKS}](?:(?<=[.!?…])(?<![.!?…][.!?…])[.!?…]*+[\"'”’)\]]*+(?=\s)|(?<=[{MARKS}])[{MARKS}]*[”’」』）]*)\s*"
)
#: A paragraph begins after a blank line, and on a line that begins with a bullet or a number.
BREAK = re.compile(r"\n[ \t]*\n\s*|\n(?=[ \t]*(?:[-*•‣▪]|\(?\d{1,3}[.)])[ \t])")
#: Opening brackets and quotation marks before a word.
OPENING = re.compile(r"[(\[\"'“‘]")
#: Number of characters before a full stop in which the last word is searched for.
LOOK_BACK_CHARACTERS = 32


def boundaries(text: str, breaks: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the offsets at which a sentence or a paragraph begins, in ascending order from 0.

    The spans between the offsets cover the whole text.

    Args:
        text: the text of a page.
        breaks: the result of ``paragraphs``, if it is known already.
    """
    found = set((paragraphs(text) if breaks is None else breaks).tolist())
    found.update(match.end() for match in END.finditer(text) if _ends(text, match))
    return np.array(sorted({0} | found - {len(text)}), dtype=np.int64)


def paragraphs(text: str) -> NDArray[np.int64]:
    """Return the offsets at which a paragraph begins, in ascending order from 0."""
    found = {match.end() for match in BREAK.finditer(text)}
    return np.array(sorted({0} | found - {len(text)}), dtype=np.int64)


def _ends(text: str, match: re.Match[str]) -> bool:
    """Return True if the match ends a sentence. A full stop does not end a sentence after an abbreviation or
    an initial, or before a word in lower case.
    """
    if not match[0].startswith("."):
        return True
    following = text[match.end() : match.end() + 1]
    if following.islower():
        return False
    word = _last_word(text[max(0, match.start() - LOOK_BACK_CHARACTERS) : match.start()])
    return not (word.lower() in ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word.isupper()))


def _last_word(text: str) -> str:
    """Return the last word of the text; "" if the text ends with white space other than one line end."""
    text = text.removesuffix("\n")
    if not text or text[-1].isspace():
        return ""
    return OPENING.split(text.split()[-1])[-1]
