"""Count the words of a text in the same way for every reader, and find those that one reader has and another lacks.

missing("permit-\\nted twice", "permitted once")    # Counter({"twice": 1})
"""

import re
import unicodedata
from collections import Counter

#: A word, or one sign of a script that is written without spaces.
WORD = re.compile(
    "[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\\W_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)
#: PDFium writes U+FFFE for a hyphen that it takes for one of the line's end.
LINE_END = re.compile("(\\w+)(?:[-\u2010\u00ad][ \t]*\r?\n\\s*|\ufffe\\s*)(\\w+)")
INVISIBLE = re.compile("[\u00ad\u200b\u200c\u200d\u2060\ufeff]")


def words(text: str) -> Counter[str]:
    """How often each word is there, whatever its case and its typography."""
    return Counter(WORD.findall(unicodedata.normalize("NFKC", INVISIBLE.sub("", text)).casefold()))


def missing(theirs: str, ours: str) -> Counter[str]:
    """Words of the first text that the second lacks. A word cut at the end of a line counts in either form."""
    there = words(ours)

    def whole(cut: re.Match[str]) -> str:
        joined = cut[1] + cut[2]
        return joined if there[next(iter(words(joined)), "")] else f"{cut[1]} {cut[2]}"

    return words(LINE_END.sub(whole, theirs)) - there
