"""Makes texts from the words of real prose, so that the words of a text are as different as in documents."""

import random
from functools import cache
from pydoc_data.topics import topics


def paragraph(chance: random.Random, words: int) -> str:
    """Return a paragraph with this number of random words of the Python language reference, in sentences."""
    drawn = chance.choices(_words(), k=words)
    for end in range(11, words, 12):
        drawn[end] = drawn[end].rstrip(".") + "."
    return " ".join(drawn)


@cache
def _words() -> list[str]:
    return [word for word in " ".join(topics.values()).split() if word.isalpha()]
