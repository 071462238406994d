"""Where sentences end: a small rule-based splitter whose spans tile the text.

boundaries("One. Two.")   # array of the offsets where a new sentence begins: [0, 5]
"""

import re

import numpy as np
from numpy.typing import NDArray

#: Words whose full stop ends no sentence.
ABBREVIATIONS = frozenset(
    "al approx art ca cf ch co corp dept dr ed eds e.g eq eqs est etc fig figs i.e inc jr lt ltd mr "
    "mrs ms no nos nr op p pp prof ref refs rev sec sect sr st v vol vs viz".split()
)
#: Full stops and question marks of scripts that use them for nothing else: of Chinese and Japanese, Devanagari, Arabic, Urdu,
#: Armenian, Ethiopic, Burmese and Khmer.
MARKS = "。！？｡।॥؟۔։።၊။។៕"
#: A mark that may end a sentence, what closes behind it, and the space before the next. Begins only where a run of marks
#: does, and gives nothing back: a line of a million dots is read once. The marks come first: so they are looked for faster.
END = re.compile(
    rf"[.!?…{MARKS}](?:(?<=[.!?…])(?<![.!?…][.!?…])[.!?…]*+[\"'”’)\]]*+(?=\s)|(?<=[{MARKS}])[{MARKS}]*[”’」』）]*)\s*"
)
#: A blank line, or a line that begins with a bullet or a number, begins something new.
BREAK = re.compile(r"\n[ \t]*\n\s*|\n(?=[ \t]*(?:[-*•‣▪]|\(?\d{1,3}[.)])[ \t])")
#: What opens before a word.
OPENING = re.compile(r"[(\[\"'“‘]")
#: Characters before a full stop in which its word is looked for.
REACH = 32


def boundaries(text: str, breaks: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Offsets at which a sentence or a paragraph begins, 0 first; together the spans between them are the text.

    Args:
        breaks: its paragraphs, where they are known already.
    """
    found = set((paragraphs(text) if breaks is None else breaks).tolist())
    found.update(match.end() for match in END.finditer(text) if _ends(text, match))
    return np.array(sorted({0} | found - {len(text)}), dtype=np.int64)


def paragraphs(text: str) -> NDArray[np.int64]:
    """Offsets at which a paragraph begins, behind a blank line; 0 first."""
    found = {match.end() for match in BREAK.finditer(text)}
    return np.array(sorted({0} | found - {len(text)}), dtype=np.int64)


def _ends(text: str, match: re.Match[str]) -> bool:
    """False for the full stop of an abbreviation or an initial, and where the text goes on in lower case."""
    if not match[0].startswith("."):
        return True
    following = text[match.end() : match.end() + 1]
    if following.islower():
        return False
    word = _last_word(text[max(0, match.start() - REACH) : match.start()])
    return not (word.lower() in ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word.isupper()))


def _last_word(text: str) -> str:
    """The word that the text ends with; "" where it ends with white space, one line end not counted."""
    text = text.removesuffix("\n")
    if not text or text[-1].isspace():
        return ""
    return OPENING.split(text.split()[-1])[-1]
