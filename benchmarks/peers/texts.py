"""Texts for the benchmarks of the endpoint: random pieces of the Python language reference (``pydoc_data``).

texts = Texts(seed=0)
texts.sentence(), texts.passages(64)
"""

from pydoc_data.topics import topics

import numpy as np

#: Fewest and most words of a question, and of a sentence.
QUESTION = (4, 14)
SENTENCE = (8, 24)
#: The mix of a search application: share of the texts, fewest and most words.
MIX = ((0.5, 120, 180), (0.3, 30, 110), (0.2, *QUESTION))


class Texts:
    """Gives the same texts for the same seed. No text comes twice, so that no cache can answer."""

    def __init__(self, seed: int) -> None:
        self._words = " ".join(topics[name] for name in sorted(topics)).split()
        self._draw = np.random.default_rng(seed)
        self._seen: set[str] = set()

    def question(self) -> str:
        """A text of the length of a question."""
        return self._cut(*QUESTION)

    def sentence(self) -> str:
        """A text of the length of a sentence."""
        return self._cut(*SENTENCE)

    def passages(self, count: int) -> list[str]:
        """Texts of mixed lengths, in random order."""
        lengths = [(fewest, most) for share, fewest, most in MIX for _ in range(round(share * count))]
        return [self._cut(*lengths[i]) for i in self._draw.permutation(len(lengths))]

    def _cut(self, fewest: int, most: int) -> str:
        while True:
            length, at = (
                int(self._draw.integers(fewest, most + 1)),
                int(self._draw.integers(0, len(self._words) - most)),
            )
            text = " ".join(self._words[at : at + length])
            if text not in self._seen:
                self._seen.add(text)
                return text
