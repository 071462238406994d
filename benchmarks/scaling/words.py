"""Makes texts of words that differ from each other as in prose."""

import random
from functools import cache
from pydoc_data.topics import topics


def paragraph(chance: random.Random, words: int) -> str:
    """Return a paragraph with this number of words of the Python language reference, in sentences."""
    drawn = chance.choices(_words(), k=words)
    for end in range(11, words, 12):
        drawn[end] = drawn[end].rstrip(".") + "."
    return " ".join(drawn)


@cache
def _words() -> list[str]:
    return [word for word in " ".join(topics.values()).split() if word.isalpha()]
