"""The part of a chunk that a person should read first: the one with most of the query's words.

wanted = Wanted("who may stop the pump")
snippet("... a long text ...", wanted)
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import regex

from cluster.text.graphemes import boundary
from cluster.vector_index.words import SPACELESS, spelt, words

#: Characters: about two lines on a screen.
LENGTH = 240
SIMPLE_WORD = re.compile(r"[^\W_]+")
#: Text without these has no marks, no invisible characters and no script without spaces: SIMPLE_WORD finds its words, which is faster.
SPECIAL = re.compile(
    "[^\x00-\xac\xae-\u02ff\u0370-\u0482\u048a-\u0590\u2010-\u2029\u202f-\u205f\u2070-\u20cf\u2100-\u2cee]"
)
#: A word of any script with its marks, and with the invisible characters inside it; or one letter of a script without spaces.
WORD = regex.compile(
    rf"[{SPACELESS}][\p{{M}}\p{{Cf}}]*+|[[\p{{L}}\p{{M}}\p{{N}}\p{{Cf}}]--[{SPACELESS}]]++", regex.V1
)
LETTER = re.compile(f"[{SPACELESS}]")
#: Spellings of words beyond ASCII that are kept.
REMEMBERED = 16_384
#: Words are alike from so many characters in common on; with shorter ones every letter counts.
COMMON = 4
#: Endings that differ: sleep, sleeps, sleeping.
ENDING = 3


class Wanted:
    """A query's words, so kept that a word of a text is looked up in them however many they are."""

    def __init__(self, query: str) -> None:
        self._words = set(words(query).text.replace(".", " ").split())
        #: By its length and by each of its beginnings that may have to be in common with another word.
        self._beginnings = {
            (len(word), word[:common]): word
            for word in sorted(self._words)
            for common in {_common(len(word), len(word) + more) for more in range(ENDING + 1)}
            if common <= len(word)
        }
        self._starts = {word[:COMMON] for word in self._words}

    def find(self, word: str) -> str | None:
        """The word of the query that is alike, if any is."""
        folded = word.lower() if word.isascii() else _spelt(word)
        if folded in self._words:
            return folded
        if folded[:COMMON] not in self._starts:
            return None
        size = len(folded)
        for length in range(max(1, size - ENDING), size + ENDING + 1):
            common = _common(size, length)
            if (
                common <= min(size, length)
                and (alike := self._beginnings.get((length, folded[:common]))) is not None
            ):
                return alike
        return None


def snippet(text: str, wanted: Wanted, *, length: int = LENGTH) -> str:
    """A slice of the text, from word to word, at most ``length`` characters; its beginning where no word is found.

    A word counts the more the rarer it is in the text, so that "the" decides nothing; repeated, it counts once.
    """
    if len(text) <= length:
        return text
    found = [
        (start, end, alike)
        for start, end in _words(text)
        if (alike := wanted.find(text[start:end])) is not None
    ]
    start, end = _best(found, length) if found else (0, 0)
    # As much before the match as after it.
    begin = max(0, min(start - (length - (end - start)) // 2, len(text) - length))
    return _whole_words(text, begin, length)


def _best(found: list[tuple[int, int, str]], length: int) -> tuple[int, int]:
    """The window over matches that weighs most, the first of several."""
    occurrences = Counter(word for *_, word in found)
    window: deque[tuple[int, int, str]] = deque()
    inside: Counter[str] = Counter()
    best, most = (found[0][0], found[0][0] + 1), 0.0
    for match in found:
        window.append(match)
        inside[match[2]] += 1
        while len(window) > 1 and match[1] - window[0][0] > length:
            inside[window.popleft()[2]] -= 1
        weight = sum(1 / occurrences[word] for word, count in inside.items() if count)
        if weight > most + 1e-9:
            best, most = (window[0][0], min(match[1], window[0][0] + length)), weight
    return best


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Where words begin and end; of a script without spaces each pair of neighbouring letters, as in ``words``."""
    if text.isascii() or SPECIAL.search(text) is None:
        yield from (match.span() for match in SIMPLE_WORD.finditer(text))
        return
    alone = True
    for (start, end), (after, last) in pairwise(
        [*(match.span() for match in WORD.finditer(text)), (len(text), len(text))]
    ):
        paired = (
            end == after < last
            and LETTER.match(text, start) is not None
            and LETTER.match(text, after) is not None
        )
        if paired:
            yield start, last
        elif alone:
            yield start, end
        alone = not paired


def _whole_words(text: str, begin: int, length: int) -> str:
    begin = boundary(text, begin)
    end = max(boundary(text, min(begin + length, len(text))), begin + 1)
    if begin > 0 and text[begin - 1].isalnum() and (space := re.compile(r"\s").search(text, begin, end)):
        begin = space.end()
    if (
        end < len(text)
        and text[end].isalnum()
        and (before := re.match(r".*(?=\s)", text[begin:end], re.DOTALL))
        and before.group().strip()
    ):
        end = begin + before.end()
    return text[begin:end].strip()


_spelt = lru_cache(REMEMBERED)(spelt)


def _common(one: int, other: int) -> int:
    """So many characters must two words of these lengths have in common."""
    return max(COMMON, max(one, other) - ENDING)
