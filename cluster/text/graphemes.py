"""Finds grapheme clusters, so that the chunker and the snippets do not cut inside a cluster.

A cluster is, for example, a letter with its marks, an emoji of several parts, a flag or a Korean syllable.
The package ``regex`` implements the rules of Unicode (UAX #29, extended grapheme clusters).

    boundary("e\u0301a", 1)     # 0: the accent belongs to the e
"""

import re
from collections.abc import Iterator

import numpy as np
import regex
from numpy.typing import NDArray

CLUSTER = regex.compile(r"\X")
#: A character that can form a cluster with its neighbours. Two neighbours that do not match this pattern are
#: never in one cluster, except CR LF. CR LF is ignored here, because it is white space.
JOINING = regex.compile(
    r"[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}\p{GCB=Prepend}\p{GCB=L}\p{GCB=V}\p{GCB=T}\p{GCB=Regional_Indicator}]"
)
#: A run of characters that may match ``JOINING``. A search with this pattern is faster, because the pattern
#: only excludes common ranges that have no joining characters.
MAY_JOIN = re.compile(
    "[^\x00-\u02ff\u0370-\u0482\u048a-\u0590\u2000-\u200b\u200e-\u20cf\u2100-\u2cee\u3000-\u3029\u3030-\u3098\u309b-\ua66e\uac00-\ud7a3]+"
)
#: Number of characters examined before an offset to find the cluster around the offset. A longer cluster may
#: be split.
LOOK_BACK = 128


def inside(text: str) -> NDArray[np.bool_] | None:
    """Return (len(text) + 1,) bool: True at each offset at which a cut would split a cluster.

    Return None if no characters of the text may join, so that a cut is possible at every offset.
    """
    if text.isascii() or MAY_JOIN.search(text) is None:
        return None
    split = np.zeros(len(text) + 1, dtype=np.bool_)
    for start, end in _joining_spans(text):
        split[start + 1 : end] = True
        split[[match.end() for match in CLUSTER.finditer(text, start, end)]] = False
    return split


def _joining_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield spans [start, end) that together contain all clusters of several characters.

    No cluster is partly inside a span and partly outside.
    """
    start = end = 0
    for match in MAY_JOIN.finditer(text):
        if match.start() - 1 >= end:
            if end:
                yield start, end
            start = max(0, match.start() - 1)
        end = min(len(text), match.end() + 1)
    yield start, end


def boundary(text: str, at: int) -> int:
    """Return the largest offset up to ``at`` at which a cut does not split a cluster."""
    if at <= 0 or at >= len(text) or (text[at - 1].isascii() and text[at].isascii()):
        return at
    start = max(0, at - LOOK_BACK)
    last = start
    for match in CLUSTER.finditer(text, start):
        if match.end() > at:
            break
        last = match.end()
    return last
