"""Count the words of a text, and find the words that one reader finds and another does not.

missing("permit-\\nted twice", "permitted once")    # Counter({"twice": 1})
"""

import re
import unicodedata
from collections import Counter

#: A word, or one sign of a script without spaces between words.
WORD = re.compile(
    "[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    "|[^\\W_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)
#: PDFium writes U+FFFE for a hyphen that it takes for a hyphen at a line end.
LINE_END = re.compile("(\\w+)(?:[-\u2010\u00ad][ \t]*\r?\n\\s*|\ufffe\\s*)(\\w+)")
INVISIBLE = re.compile("[\u00ad\u200b\u200c\u200d\u2060\ufeff]")


def words(text: str) -> Counter[str]:
    """The number of occurrences of each word, whatever its case and typography."""
    return Counter(WORD.findall(unicodedata.normalize("NFKC", INVISIBLE.sub("", text)).casefold()))


def missing(theirs: str, ours: str) -> Counter[str]:
    """The words of ``theirs`` that ``ours`` lacks.

    A word broken at a line end may be whole or broken in ``ours``.
    """
    there = words(ours)

    def whole(cut: re.Match[str]) -> str:
        joined = cut[1] + cut[2]
        return joined if there[next(iter(words(joined)), "")] else f"{cut[1]} {cut[2]}"

    return words(LINE_END.sub(whole, theirs)) - there
