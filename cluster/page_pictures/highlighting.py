"""Find a passage among the characters of a page.

    find_passage("He rons\nstand", "herons stand")       # [(0, 13)]

The text of a chunk differs from the characters that PDFium finds on the page: in white space, in hyphens at
the ends of lines, in ligatures and in the order of columns. So only letters and digits are compared, and a
passage that is not found whole is searched line by line.
"""

import unicodedata
from collections.abc import Iterator

#: Number of words of a part of a long line, and the least number of letters and digits of a part that is
#: searched on the whole page. A shorter part must follow the part before it.
WORDS, MIN_LETTERS = 8, 12


def find_passage(page: str, passage: str) -> list[tuple[int, int]]:
    """Return the places of the passage on the page, each from its first character to after its last one."""
    letters, origins = _letters(page)
    wanted = _letters(passage)[0]
    if not wanted:
        return []
    whole = letters.find(wanted)
    found = [(whole, len(wanted))] if whole >= 0 else _found_parts(letters, passage)
    return _joined([(origins[first], origins[first + count - 1] + 1) for first, count in sorted(found)])


def _found_parts(letters: str, passage: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    after = 0
    for part in _parts(passage):
        first = -1
        if len(part) >= MIN_LETTERS:
            first = letters.find(part, after)
            first = letters.find(part) if first < 0 else first
        elif found and letters.startswith(part, after):
            first = after
        if first >= 0:
            found.append((first, len(part)))
            after = first + len(part)
    return found


def _parts(passage: str) -> Iterator[str]:
    for line in passage.splitlines():
        words = line.split()
        for first in range(0, len(words), WORDS):
            if part := _letters(" ".join(words[first : first + WORDS]))[0]:
                yield part


def _letters(text: str) -> tuple[str, list[int]]:
    """Return the letters and digits of the text in lower case, and the position of each in the text."""
    letters: list[str] = []
    origins: list[int] = []
    for at, character in enumerate(text):
        for one in unicodedata.normalize("NFKC", character).casefold():
            if one.isalnum():
                letters.append(one)
                origins.append(at)
    return "".join(letters), origins


def _joined(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join places that overlap or touch. The places are in order."""
    joined: list[tuple[int, int]] = []
    for start, end in places:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
