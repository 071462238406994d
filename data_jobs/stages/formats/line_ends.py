"""Join the lines of a paragraph: words that were broken at a line end become whole again, compounds keep their hyphen.

join_lines([["Nobody is permit-\nted to stop the well-\nknown pump.", "A well-known pump."]])
# ["Nobody is permitted to stop the well-known pump.\n\nA well-known pump."]

A hyphen at a line end says too little: "permit-/ted" and "well-/known" look alike. The document decides first, by how it writes
the word elsewhere. Where it does not say, the parts do: two words of the document are a compound, everything else is a broken word.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

SOFT_HYPHEN = "\u00ad"
HYPHENS = "-\u2010" + SOFT_HYPHEN
HYPHENATED = re.compile(rf"[{HYPHENS}][^\S\n]*\n")
#: A page is drawn, so a soft hyphen inside a line is one that the reader sees.
SEEN_HYPHEN = re.compile(rf"(?<=\w){SOFT_HYPHEN}(?=\w)")
#: Scripts that put no space between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]"
)
#: A line that the next one goes on has at least this share of the longest line's length.
FULL_LINE = 0.7
WORD = re.compile(r"\w+")
#: Longer words are none, so that no line is looked through from end to end.
LONGEST_WORD = 64
PUNCTUATION = ".,;:!?()[]{}<>\"'“”‘’„«»…*"
OPENING, CLOSING = ("", "(", "“", '"'), ("", ",", ".", ";", ":", ")", "?", "!", "”", '"', "),", ").")
#: Behind such a word the hyphen stands for a word left out: "short- and long-term".
CONJUNCTIONS = frozenset("and or und oder bzw et ou y o e en of och eller".split())
#: Prefixes that are written with a hyphen.
PREFIXES = frozenset("self well non ex quasi pseudo all half cross".split())
#: A shorter part of a word says nothing: many words begin with "in" and end with "ted".
LEAST_PART = 3

Words = Callable[[], set[str]]


def join_lines(pages: Sequence[Sequence[str]]) -> list[str]:
    """A text for each page: its paragraphs a blank line apart, the lines of each joined.

    Args:
        pages: the paragraphs of each page, lines ending in ``\\n``.
    """

    @cache
    def words() -> set[str]:
        return _words(pages)

    joined = ((_join(paragraph, words) for paragraph in paragraphs) for paragraphs in pages)
    return ["\n\n".join(filter(None, paragraphs)) for paragraphs in joined]


def _join(paragraph: str, words: Words) -> str:
    lines = [line for line in map(str.strip, paragraph.split("\n")) if line]
    if len(lines) < 2 or not (
        HYPHENATED.search(paragraph) or (not paragraph.isascii() and UNSPACED.search(paragraph))
    ):
        return _without_soft_hyphens(" ".join(lines))  # nearly every paragraph
    parts = [lines[0]]
    for before, line in pairwise(lines):
        if before[-1] in HYPHENS and before[-2:-1].isalnum() and line[0].isalnum():
            parts[-1] = parts[-1][:-1]
            parts.append(_between(before, line, words))
        elif before[-1] < "\u0e00" or not _goes_on(before, line, lines):
            parts.append(" ")
        parts.append(line)
    return _without_soft_hyphens("".join(parts))


def _goes_on(before: str, line: str, lines: Sequence[str]) -> bool:
    """True where no space belongs between the two lines: a sentence of such a script fills its line, a cell of a table does not."""
    return bool(
        UNSPACED.match(before[-1])
        and UNSPACED.match(line)
        and len(before) >= FULL_LINE * max(map(len, lines))
    )


def _without_soft_hyphens(text: str) -> str:
    return SEEN_HYPHEN.sub("-", text).replace(SOFT_HYPHEN, "") if SOFT_HYPHEN in text else text


def _between(line: str, following: str, words: Words) -> str:
    """What stands between the two parts of a word in running text: nothing, a hyphen, or a hyphen and a space."""
    first = line[-LONGEST_WORD:-1].split()[-1].lstrip(PUNCTUATION)
    found = WORD.match(following)
    second = found[0] if found else following
    together, compound = (first + second).lower(), f"{first}-{second}".lower()
    if _stands_in(words, together):
        return ""
    if second.lower() in CONJUNCTIONS:
        return "- "
    if _stands_in(words, compound) or not (first[-1].isalpha() and second.isalpha() and second[0].islower()):
        return "-"
    if line[-1] == SOFT_HYPHEN:
        return ""
    first, second = first.lower(), second.lower()
    both_words = (
        min(len(first), len(second)) >= LEAST_PART and _stands_in(words, first) and _stands_in(words, second)
    )
    return "-" if "-" in first or first in PREFIXES or both_words else ""


def _stands_in(words: Words, word: str) -> bool:
    """True where it is a word of the document, by itself or beside a punctuation mark."""
    found = words()
    return any(f"{before}{word}{after}" in found for before in OPENING for after in CLOSING)


def _words(pages: Sequence[Sequence[str]]) -> set[str]:
    """What stands between spaces in the document, in lower case."""
    text = "\n".join(map("\n".join, pages)).lower().replace("\u2010", "-").replace(SOFT_HYPHEN, "-")
    return set(text.split())
