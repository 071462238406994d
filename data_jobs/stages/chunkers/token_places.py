"""Where a page may be cut: its tokens, and the characters that go with each of them.

    places = Places.of(text, tokenise(tokeniser, [text])[0])
    text[places.begin[3] : places.end[9]]       # the text of a chunk of the tokens 3 to 8

A tokeniser skips characters: marks that it strips, format characters, everything that it does not know as text. Here
every one of them belongs to the token before it or, behind white space, to the token after it, so that the chunks of a
page hold all of its text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Tokeniser, Tokens
from cluster.text.graphemes import inside

#: A longer token is one that the tokeniser gave up: WordPiece's longest word, or a run of unknown characters in one.
LONGEST_TOKEN = 100
#: Characters of the pieces that are tokenised instead. Of an unknown token, too: a Korean syllable counts as three letters.
PIECE = 32
#: Tokens of nothing but white space that stay of a run.
MOST_BLANK = 8
#: Of a run of characters without a token so many go with the token beside it; the rest of a longer run is in no chunk.
LONGEST_UNSEEN = 1_024
#: Code points of white space all lie below.
SPACES_END = 0x3001
SPACE = np.array([chr(code).isspace() for code in range(SPACES_END)])
ASCII_SPACES = bytes(code for code in range(128) if SPACE[code])
#: White space that a tokeniser may drop out of the middle of a word.
DROPPED = b"\x0b\x0c\x1c\x1d\x1e\x1f"
MAY_BE_DROPPED = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
WHITE = re.compile(r"\s")


def tokenise(tokeniser: Tokeniser, texts: Sequence[str], *, blanks: bool = False) -> list[Tokens]:
    """The tokens of each text, those of a word that is too long for the tokeniser from the pieces of the word.

    Args:
        tokeniser: the model's.
        texts: pages.
        blanks: leave out tokens of nothing but white space beyond 8 in a row (see ``has_blanks``).
    """
    found = [
        _in_pieces(tokeniser, text, tokens)
        for text, tokens in zip(texts, tokeniser.tokenise(texts), strict=True)
    ]
    return (
        [_no_long_blanks(text, tokens) for text, tokens in zip(texts, found, strict=True)]
        if blanks
        else found
    )


def has_blanks(tokeniser: Tokeniser) -> bool:
    """Whether the vocabulary has tokens for white space, as those of RoBERTa have and those of BERT do not."""
    sample = f"a{' ' * 64}" + "\n" * 64 + "\t" * 64 + "b"
    (tokens,) = tokeniser.tokenise([sample])
    return any(sample[start:end].isspace() for start, end in tokens.offsets.tolist())


@dataclass(frozen=True, slots=True)
class Places:
    """A page with n tokens. A chunk of the tokens from i to before j is ``text[begin[i]:end[j]]``."""

    #: (n + 1,) int64: where the text begins that goes with token i and those behind it.
    begin: NDArray[np.int64]
    #: (n + 1,) int64: where the text ends that goes with the tokens before i.
    end: NDArray[np.int64]
    #: (n + 1,) bool: before token i a cut parts neither a token nor a letter from its marks.
    whole: NDArray[np.bool_]
    #: (n + 1,) bool: white space stands before token i.
    spaced: NDArray[np.bool_]
    #: Characters of the page, white space not counted.
    characters: int
    #: Characters without a token that are no marks and no format characters.
    unseen: int

    @classmethod
    def of(cls, text: str, tokens: Tokens) -> Self:
        """The places of a page."""
        end = np.concatenate([[0], tokens.offsets[:, 1]]).astype(np.int64)
        begin = np.concatenate([tokens.offsets[:, 0], [len(text)]]).astype(np.int64)
        covered = int((end[1:] - begin[:-1]).sum())
        if (begin >= end).all() and _all_in_tokens(text, begin, end, covered):
            return cls._of_words(text, begin, end, covered)
        return cls._of_all(text, begin, end)

    @classmethod
    def _of_words(cls, text: str, begin: NDArray[np.int64], end: NDArray[np.int64], solid: int) -> Self:
        """Of a page on which each character is white space or of a token, as nearly all are."""
        whole, split = np.ones(len(begin), dtype=np.bool_), inside(text)
        if split is not None:
            whole = ~split[begin] & ~split[end]
        return cls(begin, end, whole, begin > end, solid, 0)

    @classmethod
    def _of_all(cls, text: str, begin: NDArray[np.int64], end: NDArray[np.int64]) -> Self:
        """Of any page."""
        space = _space(text)
        solid = np.flatnonzero(~space)
        #: How many solid characters stand before each place.
        before = np.concatenate([[0], np.cumsum(~space)])
        tokens_end = end[1:].copy()
        odd = np.flatnonzero((begin > end) & (before[begin] > before[end]))
        apart = begin >= end
        spaced = (begin - end > before[begin] - before[end]) & apart
        unseen = 0
        for i in odd.tolist():
            gap = text[end[i] : begin[i]]
            unseen += sum(
                not one.isspace() and category(one)[0] != "M" and category(one) != "Cf" for one in gap
            )
            _share(begin, end, i, gap, last=i == len(begin) - 1)
        # A chunk begins with something to see, and so does the page before its first cut.
        blank = np.append(before[tokens_end] == before[begin[:-1]], False)
        whole, split = apart & ~blank & (before[begin] > 0), inside(text)
        if len(solid):
            spaced |= np.append(space, False)[begin]
            begin = np.append(solid, len(text))[before[begin]]
            end = np.where(before[end] > 0, solid[before[end] - 1] + 1, 0)
        if split is not None:
            whole = whole & ~split[begin] & ~split[end]
        return cls(begin, np.maximum.accumulate(end), whole, spaced, len(solid), unseen)


def _all_in_tokens(text: str, begin: NDArray[np.int64], end: NDArray[np.int64], covered: int) -> bool:
    """Whether tokens that do not overlap cover all characters but white space, and none of that; False where it is not clear."""
    if text.isascii():
        data = text.encode("ascii")
        if covered != len(data.translate(None, ASCII_SPACES)) or len(data.translate(None, DROPPED)) != len(
            data
        ):
            return False
        return not SPACE[np.frombuffer(data, np.uint8)[begin[:-1]]].any()
    words = text.split()
    if covered != sum(map(len, words)) or np.count_nonzero((begin > end)[1:-1]) != len(words) - 1:
        return False
    return MAY_BE_DROPPED.search(text) is None


def _share(begin: NDArray[np.int64], end: NDArray[np.int64], i: int, gap: str, *, last: bool) -> None:
    """Give the characters between two tokens to those on either side."""
    left, right = int(end[i]), int(begin[i])
    space = WHITE.search(gap)
    if i == 0:
        begin[i] = max(left, right - LONGEST_UNSEEN)
    elif last:
        end[i] = min(right, left + LONGEST_UNSEEN)
    elif space is not None:
        end[i] = min(left + space.start(), left + LONGEST_UNSEEN)
        begin[i] = max(left + space.start(), right - LONGEST_UNSEEN)
    else:
        end[i] = min(right, left + LONGEST_UNSEEN)
        begin[i] = right if right - left <= LONGEST_UNSEEN else max(int(end[i]), right - LONGEST_UNSEEN)


def _space(text: str) -> NDArray[np.bool_]:
    """(len(text),) bool: which characters are white space."""
    if text.isascii():
        return SPACE[np.frombuffer(text.encode("ascii"), np.uint8)]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return SPACE[np.minimum(codes, SPACES_END - 1)] & (codes < SPACES_END)


def _no_long_blanks(text: str, tokens: Tokens) -> Tokens:
    before = np.concatenate([[0], np.cumsum(~_space(text))])
    blank = before[tokens.offsets[:, 1]] == before[tokens.offsets[:, 0]]
    place = np.arange(len(blank))
    in_a_row = place - np.maximum.accumulate(np.where(blank, -1, place))
    kept = in_a_row <= MOST_BLANK
    return tokens if kept.all() else Tokens(ids=tokens.ids[kept], offsets=tokens.offsets[kept])


def _in_pieces(tokeniser: Tokeniser, text: str, tokens: Tokens) -> Tokens:
    lengths = tokens.offsets[:, 1] - tokens.offsets[:, 0]
    unknown = tokens.ids == tokeniser.unknown_id
    long = np.flatnonzero((lengths > LONGEST_TOKEN) | (unknown & (lengths > PIECE)))
    if not len(long):
        return tokens
    split = inside(text)
    cuts = [_cuts(start, end, split) for start, end in tokens.offsets[long].tolist()]
    spans = [span for of_one in cuts for span in of_one]
    spelt = iter(tokeniser.tokenise([text[start:end] for start, end in spans]))
    ids, offsets, after = [], [], 0
    for at, of_one in zip(long.tolist(), cuts, strict=True):
        ids.append(tokens.ids[after:at])
        offsets.append(tokens.offsets[after:at])
        for start, _ in of_one:
            piece = next(spelt)
            ids.append(piece.ids)
            offsets.append(piece.offsets + np.int32(start))
        after = at + 1
    return Tokens(
        ids=np.concatenate([*ids, tokens.ids[after:]]),
        offsets=np.concatenate([*offsets, tokens.offsets[after:]]),
    )


def _cuts(start: int, end: int, split: NDArray[np.bool_] | None) -> list[tuple[int, int]]:
    """Pieces of about ``PIECE`` characters that part no letter from its marks, where its marks are not longer than a piece."""
    found = []
    while end - start > PIECE:
        cut = start + PIECE
        while split is not None and split[cut] and cut > start + 1:
            cut -= 1
        if split is not None and split[cut]:
            cut = start + PIECE
        found.append((start, cut))
        start = cut
    return [*found, (start, end)]
