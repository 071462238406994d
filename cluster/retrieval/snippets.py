"""Find the snippet of a chunk, which is the part with most of the question's words.

query_words = QueryWords("who may stop the pump")
snippet("... a long text ...", query_words)
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import regex

from cluster.text.graphemes import boundary
from cluster.vector_index.words import SPACELESS, normalised, words

#: Length of a snippet in characters, about two lines on a screen.
LENGTH = 240
SIMPLE_WORD = re.compile(r"[^\W_]+")
#: A text without these characters has no marks, no invisible characters and no script without spaces. For
#: such a text SIMPLE_WORD is enough, and it is faster than WORD.
SPECIAL = re.compile(
    "[^\x00-\xac\xae-\u02ff\u0370-\u0482\u048a-\u0590\u2010-\u2029\u202f-\u205f\u2070-\u20cf\u2100-\u2cee]"
)
#: A word of any script, including marks and invisible characters inside the word, or one letter of a script
#: without spaces.
WORD = regex.compile(
    rf"[{SPACELESS}][\p{{M}}\p{{Cf}}]*+|[[\p{{L}}\p{{M}}\p{{N}}\p{{Cf}}]--[{SPACELESS}]]++", regex.V1
)
SPACELESS_LETTER = re.compile(f"[{SPACELESS}]")
#: Maximum number of non-ASCII words whose normalised form the process caches.
REMEMBERED_SPELLINGS = 16_384
#: Minimum number of equal first characters of two matching words; shorter words must be equal as a whole.
LEAST_COMMON = 4
#: Maximum number of characters at the end by which two matching words may differ: sleep, sleeps, sleeping.
LONGEST_ENDING = 3


class QueryWords:
    """Finds the question's word that matches a word of a text, equally fast for long and short questions."""

    def __init__(self, question: str) -> None:
        self._words = set(words(question).text.replace(".", " ").split())
        #: (Length of a word of the question, beginning of this word) -> the word. There is an entry for each
        #: beginning that a matching word may share with this word.
        self._beginnings = {
            (len(word), word[:common]): word
            for word in sorted(self._words)
            for common in {_common(len(word), len(word) + more) for more in range(LONGEST_ENDING + 1)}
            if common <= len(word)
        }
        self._starts = {word[:LEAST_COMMON] for word in self._words}

    def find(self, word: str) -> str | None:
        """Return the question's word that matches the given word; None if no word matches."""
        return self._match(word.lower() if word.isascii() else _normalised(word))

    def matches(self, text: str) -> list[tuple[int, int, str]]:
        """Return start and end of each word of the text that matches a word of the question, with the word of
        the question.
        """
        if text.isascii():
            # Most words of a text begin like no word of the question, so these words are skipped first.
            return [
                (*match.span(), word)
                for match in SIMPLE_WORD.finditer(text.lower())
                if match[0][:LEAST_COMMON] in self._starts and (word := self._match(match[0])) is not None
            ]
        return [
            (start, end, word)
            for start, end in _words(text)
            if (word := self.find(text[start:end])) is not None
        ]

    def _match(self, folded: str) -> str | None:
        if folded in self._words:
            return folded
        if folded[:LEAST_COMMON] not in self._starts:
            return None
        size = len(folded)
        for length in range(max(1, size - LONGEST_ENDING), size + LONGEST_ENDING + 1):
            common = _common(size, length)
            if (
                common <= min(size, length)
                and (match := self._beginnings.get((length, folded[:common]))) is not None
            ):
                return match
        return None


def snippet(text: str, query_words: QueryWords, *, length: int = LENGTH) -> str:
    """Return the slice of the text with most of the question's words, cut between words.

    A word that is rare in the text counts more than a frequent word such as "the". A repeated word counts
    once. If the text has none of the words, the snippet is the beginning of the text.
    """
    if len(text) <= length:
        return text
    found = query_words.matches(text)
    start, end = _best(found, length) if found else (0, 0)
    # The matches are put in the middle of the snippet.
    begin = max(0, min(start - (length - (end - start)) // 2, len(text) - length))
    return _whole_words(text, begin, length)


def _best(found: list[tuple[int, int, str]], length: int) -> tuple[int, int]:
    """Return start and end of the window of matches with the highest weight; if several windows have this
    weight, of the first.
    """
    weights = {word: 1 / count for word, count in Counter(word for *_, word in found).items()}
    window: deque[tuple[int, int, str]] = deque()
    inside: Counter[str] = Counter()
    best, most, weight = (found[0][0], found[0][0] + 1), 0.0, 0.0
    for match in found:
        window.append(match)
        inside[match[2]] += 1
        if inside[match[2]] == 1:
            weight += weights[match[2]]
        while len(window) > 1 and match[1] - window[0][0] > length:
            word = window.popleft()[2]
            inside[word] -= 1
            if inside[word] == 0:
                weight -= weights[word]
        if weight > most + 1e-9:
            best, most = (window[0][0], min(match[1], window[0][0] + length)), weight
    return best


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each word. In a script without spaces, two adjacent letters are a word."""
    if SPECIAL.search(text) is None:
        yield from (match.span() for match in SIMPLE_WORD.finditer(text))
        return
    alone = True
    for (start, end), (after, last) in pairwise(
        [*(match.span() for match in WORD.finditer(text)), (len(text), len(text))]
    ):
        paired = (
            end == after < last
            and SPACELESS_LETTER.match(text, start) is not None
            and SPACELESS_LETTER.match(text, after) is not None
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


_normalised = lru_cache(REMEMBERED_SPELLINGS)(normalised)


def _common(one: int, other: int) -> int:
    """Return the number of first characters that two words of these lengths must share to match."""
    return max(LEAST_COMMON, max(one, other) - LONGEST_ENDING)
