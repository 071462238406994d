"""Scores texts with VADER, a lexicon of English words with rules for negation, emphasis and emoticons.

``LinearHead`` reads the three numbers of a text as features, together with the vector of the text. VADER:
Hutto and Gilbert, ICWSM 2014.

    lexicon_features(["I love it!", "It broke."])      # (2, 3) float32: compound, positive, negative
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Names of VADER's numbers that are features, in order.
FEATURES = ("compound", "pos", "neg")
#: Maximum number of characters of a text that VADER reads, because VADER's run time grows with the square of
#: the length.
MAX_CHARACTERS = 1_000


def lexicon_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return VADER's numbers for each text: (n, 3) float32, ``compound`` in [-1, 1], ``pos`` and ``neg`` in
    [0, 1].
    """
    analyser = _analyser()
    found = np.zeros((len(texts), len(FEATURES)), dtype=np.float32)
    for row, text in zip(found, texts, strict=True):
        scores = analyser.polarity_scores(text[:MAX_CHARACTERS])
        row[:] = [scores[name] for name in FEATURES]
    return found


@cache
def _analyser() -> Any:
    # The constructor reads the lexicon from its files, so the analyser is made at the first use.
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # noqa: PLC0415

    return SentimentIntensityAnalyzer()
