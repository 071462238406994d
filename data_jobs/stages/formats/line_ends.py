"""Join the lines of a paragraph. Words that are broken at a line end become whole again, and compounds keep
their hyphen.

join_lines([["Nobody is permit-\nted to stop the well-\nknown pump.", "A well-known pump."]])
# ["Nobody is permitted to stop the well-known pump.\n\nA well-known pump."]

The hyphen alone does not distinguish the two cases: "permit-/ted" and "well-/known" look alike. If the word
occurs elsewhere in the document, the spelling there decides. Otherwise the parts of the word decide: if both
parts are words of the document, the word is a compound; if not, the word is a broken word.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

SOFT_HYPHEN = "\u00ad"
HYPHENS = "-\u2010" + SOFT_HYPHEN
HYPHENATED = re.compile(rf"[{HYPHENS}][^\S\n]*\n")
#: A soft hyphen inside a line. A PDF draws such hyphens, so the reader sees a hyphen.
VISIBLE_HYPHEN = re.compile(rf"(?<=\w){SOFT_HYPHEN}(?=\w)")
#: Scripts without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff00-\uffef]"
)
#: A line that continues on the next line has at least this share of the longest line's length.
FULL_LINE_SHARE = 0.7
WORD = re.compile(r"\w+")
#: Maximum length of a word before a hyphen, so that a long line is not searched from end to end.
LONGEST_WORD = 64
PUNCTUATION = ".,;:!?()[]{}<>\"'“”‘’„«»…*"
OPENING, CLOSING = ("", "(", "“", '"'), ("", ",", ".", ";", ":", ")", "?", "!", "”", '"', "),", ").")
#: Before one of these words, a hyphen replaces an omitted word: "short- and long-term".
CONJUNCTIONS = frozenset("and or und oder bzw et ou y o e en of och eller".split())
#: Prefixes that keep their hyphen.
PREFIXES = frozenset("self well non ex quasi pseudo all half cross".split())
#: Minimum length of a part that counts as a word, because many words begin with "in" or end with "ted".
MIN_PART_LENGTH = 3

#: Separates the paragraphs of a page.
BLANK_LINE = "\n\n"
#: Returns the words of the document, which are collected only if they are needed.
DocumentWords = Callable[[], set[str]]


def join_lines(pages: Sequence[Sequence[str]]) -> list[str]:
    """Return the text of each page. The lines of a paragraph are joined; a blank line separates paragraphs.

    Args:
        pages: the paragraphs of each page. The lines of a paragraph end in ``\\n``.
    """
    return [page_text(paragraphs) for paragraphs in joined_paragraphs(pages)]


def page_text(paragraphs: Sequence[str]) -> str:
    """Return the text of a page with these paragraphs; empty paragraphs are left out."""
    return BLANK_LINE.join(filter(None, paragraphs))


def joined_paragraphs(pages: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the paragraphs of each page with joined lines; see ``join_lines``."""

    @cache
    def words() -> set[str]:
        return _words(pages)

    return [[_join(paragraph, words) for paragraph in paragraphs] for paragraphs in pages]


def _join(paragraph: str, words: DocumentWords) -> str:
    lines = [line for line in map(str.strip, paragraph.split("\n")) if line]
    if len(lines) < 2 or not (
        HYPHENATED.search(paragraph) or (not paragraph.isascii() and UNSPACED.search(paragraph))
    ):
        return _without_soft_hyphens(" ".join(lines))  # nearly all paragraphs end here
    parts = [lines[0]]
    for before, line in pairwise(lines):
        if before[-1] in HYPHENS and before[-2:-1].isalnum() and line[0].isalnum():
            parts[-1] = parts[-1][:-1]
            parts.append(_separator(before, line, words))
        elif before[-1] < "\u0e00" or not _continues(before, line, lines):
            parts.append(" ")
        parts.append(line)
    return _without_soft_hyphens("".join(parts))


def _continues(before: str, line: str, lines: Sequence[str]) -> bool:
    """Return True if no space belongs between the lines: both lines have a script without spaces, and the
    line ``before`` is full. A line that is not full may be the text of a table cell.
    """
    return bool(
        UNSPACED.match(before[-1])
        and UNSPACED.match(line)
        and len(before) >= FULL_LINE_SHARE * max(map(len, lines))
    )


def _without_soft_hyphens(text: str) -> str:
    return VISIBLE_HYPHEN.sub("-", text).replace(SOFT_HYPHEN, "") if SOFT_HYPHEN in text else text


def _separator(line: str, following: str, words: DocumentWords) -> str:
    """Return the separator between the parts of a word: nothing, a hyphen, or a hyphen and a space."""
    first = line[-LONGEST_WORD:-1].split()[-1].lstrip(PUNCTUATION)
    found = WORD.match(following)
    second = found[0] if found else following
    together, compound = (first + second).lower(), f"{first}-{second}".lower()
    if _occurs(words, together):
        return ""
    if second.lower() in CONJUNCTIONS:
        return "- "
    if _occurs(words, compound) or not (first[-1].isalpha() and second.isalpha() and second[0].islower()):
        return "-"
    if line[-1] == SOFT_HYPHEN:
        return ""
    first, second = first.lower(), second.lower()
    both_words = (
        min(len(first), len(second)) >= MIN_PART_LENGTH and _occurs(words, first) and _occurs(words, second)
    )
    return "-" if "-" in first or first in PREFIXES or both_words else ""


def _occurs(words: DocumentWords, word: str) -> bool:
    """Return True if the document has the word, alone or next to a punctuation mark."""
    found = words()
    return any(f"{before}{word}{after}" in found for before in OPENING for after in CLOSING)


def _words(pages: Sequence[Sequence[str]]) -> set[str]:
    """Return the words of the document in lower case; spaces separate words."""
    text = "\n".join(map("\n".join, pages)).lower().replace("\u2010", "-").replace(SOFT_HYPHEN, "-")
    return set(text.split())
