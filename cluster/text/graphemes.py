"""What a reader takes for one character: a letter with its marks, an emoji of several parts, a flag, a syllable of jamo.

Called by the chunker and by snippets, so that neither cuts inside one. The rules are Unicode's (UAX #29, extended
grapheme clusters), as the package ``regex`` knows them.

    boundary("e\u0301a", 1)     # 0: the accent belongs to the e
"""

import re
from collections.abc import Iterator

import numpy as np
import regex
from numpy.typing import NDArray

CLUSTER = regex.compile(r"\X")
#: Without one of these, every character is a cluster of its own; CR LF is left aside, as white space.
JOINING = regex.compile(
    r"[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}\p{GCB=Prepend}\p{GCB=L}\p{GCB=V}\p{GCB=T}\p{GCB=Regional_Indicator}]"
)
#: Runs of what may be joining, which is found faster; common ranges that hold none of it are left out.
SUSPECT = re.compile(
    "[^\x00-\u02ff\u0370-\u0482\u048a-\u0590\u2000-\u200b\u200e-\u20cf\u2100-\u2cee\u3000-\u3029\u3030-\u3098\u309b-\ua66e\uac00-\ud7a3]+"
)
#: Characters looked at before a place, to find the cluster around it; those of a longer one are told apart no more.
LOOK_BACK = 128


def inside(text: str) -> NDArray[np.bool_] | None:
    """(len(text) + 1,) bool: the places at which a cut would split a cluster; None where there is none."""
    if text.isascii() or SUSPECT.search(text) is None:
        return None
    split = np.zeros(len(text) + 1, dtype=np.bool_)
    for start, end in _suspects(text):
        split[start + 1 : end] = True
        split[[match.end() for match in CLUSTER.finditer(text, start, end)]] = False
    return split


def _suspects(text: str) -> Iterator[tuple[int, int]]:
    """Stretches that hold all clusters of several characters: between two characters that do not join there is always a boundary."""
    start = end = 0
    for match in SUSPECT.finditer(text):
        if match.start() - 1 >= end:
            if end:
                yield start, end
            start = max(0, match.start() - 1)
        end = min(len(text), match.end() + 1)
    yield start, end


def boundary(text: str, at: int) -> int:
    """The last place up to ``at`` that splits no cluster."""
    if at <= 0 or at >= len(text) or (text[at - 1].isascii() and text[at].isascii()):
        return at
    start = max(0, at - LOOK_BACK)
    last = start
    for match in CLUSTER.finditer(text, start):
        if match.end() > at:
            break
        last = match.end()
    return last
