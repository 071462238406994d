"""Where sentences end: a small rule-based splitter whose spans tile the text.

boundaries("One. Two.")   # array of the offsets where a new sentence begins: [0, 5]
"""

import re

import numpy as np
from numpy.typing import NDArray

#: Words whose full stop ends no sentence.
ABBREVIATIONS = frozenset(
    "al approx art ca cf ch co corp dept dr ed eds e.g eq eqs est etc fig figs i.e inc jr lt ltd mr mrs ms no nos nr op p pp prof "
    "ref refs rev sec sect sr st v vol vs viz".split()
)
#: A mark that may end a sentence, what closes behind it, and the space before the next. Begins only where a run of marks
#: does, and gives nothing back: a line of a million dots is read once.
END = re.compile(r"(?:(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s)|[。！？]+[”’」』）]*)\s*")
#: A blank line, or a line that begins with a bullet or a number, begins something new.
BREAK = re.compile(r"\n[ \t]*\n\s*|\n(?=[ \t]*(?:[-*•‣▪]|\(?\d{1,3}[.)])[ \t])")
LAST_WORD = re.compile(r"([^\s(\[\"'“‘]+)$")


def boundaries(text: str) -> NDArray[np.int64]:
    """Offsets at which a sentence or a paragraph begins, 0 first; together the spans between them are the text."""
    found = {match.end() for match in BREAK.finditer(text)}
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
    word = LAST_WORD.search(text, max(0, match.start() - 32), match.start())
    return word is None or not (word[1].lower() in ABBREVIATIONS or (len(word[1]) == 1 and word[1].isalpha() and word[1].isupper()))
