"""Assign every character of a page to a token, and find the places at which the page may be cut.

    places = TokenPlaces.of(text, tokenise(tokeniser, [text])[0])
    text[places.begin[3] : places.end[9]]       # the text of a chunk of the tokens 3 to 8

A tokeniser skips characters: marks that it strips, format characters, and characters that it does not know as
text. This module assigns each skipped character to the token before it or, after white space, to the token
after it. So the chunks of a page hold all text of the page.
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

#: Maximum number of characters of a real token. A longer token means that the tokeniser did not split the
#: text: WordPiece does this for a long word or for a run of unknown characters.
LONGEST_TOKEN = 100
#: Number of characters of the pieces into which a longer token is divided. Unknown tokens with more
#: characters than this number are divided, too: the tokeniser's limit counts letters, and a Korean syllable
#: counts as three letters, so a Korean word reaches the limit with fewer characters.
PIECE_CHARACTERS = 32
#: Maximum number of consecutive tokens of white space that are kept.
MAX_BLANK_TOKENS = 8
#: Maximum number of characters without a token that are assigned to a neighbouring token. The rest of a
#: longer run is in no chunk.
MAX_TOKENLESS_CHARACTERS = 1_024
#: All white space has code points below this number.
SPACES_END = 0x3001
SPACE = np.array([chr(code).isspace() for code in range(SPACES_END)])
ASCII_SPACES = bytes(code for code in range(128) if SPACE[code])
#: White space that a tokeniser may drop from the middle of a word.
DROPPED = b"\x0b\x0c\x1c\x1d\x1e\x1f"
MAY_BE_DROPPED = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
WHITE = re.compile(r"\s")


def tokenise(tokeniser: Tokeniser, texts: Sequence[str], *, blanks: bool = False) -> list[Tokens]:
    """Return the tokens of each text. A word that is too long for the tokeniser is tokenised in pieces.

    Args:
        tokeniser: the tokeniser of the model.
        texts: the texts of pages.
        blanks: True to drop tokens of white space beyond ``MAX_BLANK_TOKENS`` in a row (see ``has_blanks``).
    """
    found = [
        _in_pieces(tokeniser, text, tokens)
        for text, tokens in zip(texts, tokeniser.tokenise(texts), strict=True)
    ]
    return (
        [_without_long_blanks(text, tokens) for text, tokens in zip(texts, found, strict=True)]
        if blanks
        else found
    )


def has_blanks(tokeniser: Tokeniser) -> bool:
    """Return True if the vocabulary has tokens for white space (RoBERTa: yes, BERT: no)."""
    sample = f"a{' ' * 64}" + "\n" * 64 + "\t" * 64 + "b"
    (tokens,) = tokeniser.tokenise([sample])
    return any(sample[start:end].isspace() for start, end in tokens.offsets.tolist())


@dataclass(frozen=True, slots=True)
class TokenPlaces:
    """The places at which a page of n tokens may be cut.

    The text of the tokens from i to before j is ``text[begin[i]:end[j]]``.
    """

    #: (n + 1,) int64: for each token i, the offset at which a chunk begins whose first token is i.
    begin: NDArray[np.int64]
    #: (n + 1,) int64: for each token i, the offset at which a chunk ends whose last token is i - 1.
    end: NDArray[np.int64]
    #: (n + 1,) bool: True for each token i if a cut before token i divides no token and no grapheme cluster.
    whole: NDArray[np.bool_]
    #: (n + 1,) bool: True for each token i if white space precedes token i.
    spaced: NDArray[np.bool_]
    #: Number of characters of the page, without white space.
    characters: int
    #: Number of characters that are in no token. Marks and format characters are not counted.
    tokenless: int

    @classmethod
    def of(cls, text: str, tokens: Tokens) -> Self:
        """Compute the places of a page."""
        end = np.concatenate([[0], tokens.offsets[:, 1]]).astype(np.int64)
        begin = np.concatenate([tokens.offsets[:, 0], [len(text)]]).astype(np.int64)
        covered = int((end[1:] - begin[:-1]).sum())
        if (begin >= end).all() and _all_in_tokens(text, begin, end, covered):
            return cls._of_covered_page(text, begin, end, covered)
        return cls._of_any_page(text, begin, end)

    @classmethod
    def _of_covered_page(
        cls, text: str, begin: NDArray[np.int64], end: NDArray[np.int64], solid: int
    ) -> Self:
        """Compute the places of a page on which each character is white space or in a token. Nearly all pages
        are of this kind.

        Args:
            solid: number of characters of the page, without white space.
        """
        whole, split = np.ones(len(begin), dtype=np.bool_), inside(text)
        if split is not None:
            whole = ~split[begin] & ~split[end]
        return cls(begin, end, whole, begin > end, solid, 0)

    @classmethod
    def _of_any_page(cls, text: str, begin: NDArray[np.int64], end: NDArray[np.int64]) -> Self:
        """Compute the places of any page."""
        space = _space(text)
        solid = np.flatnonzero(~space)
        # Number of characters that are not white space before each offset.
        before = np.concatenate([[0], np.cumsum(~space)])
        tokens_end = end[1:].copy()
        odd = np.flatnonzero((begin > end) & (before[begin] > before[end]))
        apart = begin >= end
        spaced = (begin - end > before[begin] - before[end]) & apart
        tokenless = 0
        for i in odd.tolist():
            gap = text[end[i] : begin[i]]
            tokenless += sum(
                not one.isspace() and category(one)[0] != "M" and category(one) != "Cf" for one in gap
            )
            _share(begin, end, i, gap, last=i == len(begin) - 1)
        # Cut only before a token with a visible character and after a visible character, so no chunk is
        # blank.
        blank = np.append(before[tokens_end] == before[begin[:-1]], False)
        whole, split = apart & ~blank & (before[begin] > 0), inside(text)
        if len(solid):
            spaced |= np.append(space, False)[begin]
            begin = np.append(solid, len(text))[before[begin]]
            end = np.where(before[end] > 0, solid[before[end] - 1] + 1, 0)
        if split is not None:
            whole = whole & ~split[begin] & ~split[end]
        return cls(begin, np.maximum.accumulate(end), whole, spaced, len(solid), tokenless)


def _all_in_tokens(text: str, begin: NDArray[np.int64], end: NDArray[np.int64], covered: int) -> bool:
    """Return True if the tokens cover exactly the characters that are not white space; False if this is not
    certain.
    """
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
    """Assign each character of the gap before token ``i`` to the token before or after the gap, up to
    ``MAX_TOKENLESS_CHARACTERS`` characters to each token.
    """
    left, right = int(end[i]), int(begin[i])
    space = WHITE.search(gap)
    if i == 0:
        begin[i] = max(left, right - MAX_TOKENLESS_CHARACTERS)
    elif last:
        end[i] = min(right, left + MAX_TOKENLESS_CHARACTERS)
    elif space is not None:
        end[i] = min(left + space.start(), left + MAX_TOKENLESS_CHARACTERS)
        begin[i] = max(left + space.start(), right - MAX_TOKENLESS_CHARACTERS)
    else:
        end[i] = min(right, left + MAX_TOKENLESS_CHARACTERS)
        begin[i] = (
            right
            if right - left <= MAX_TOKENLESS_CHARACTERS
            else max(int(end[i]), right - MAX_TOKENLESS_CHARACTERS)
        )


def _space(text: str) -> NDArray[np.bool_]:
    """Return a (len(text),) bool array that is True for white space."""
    if text.isascii():
        return SPACE[np.frombuffer(text.encode("ascii"), np.uint8)]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return SPACE[np.minimum(codes, SPACES_END - 1)] & (codes < SPACES_END)


def _without_long_blanks(text: str, tokens: Tokens) -> Tokens:
    before = np.concatenate([[0], np.cumsum(~_space(text))])
    blank = before[tokens.offsets[:, 1]] == before[tokens.offsets[:, 0]]
    place = np.arange(len(blank))
    in_a_row = place - np.maximum.accumulate(np.where(blank, -1, place))
    kept = in_a_row <= MAX_BLANK_TOKENS
    return tokens if kept.all() else Tokens(ids=tokens.ids[kept], offsets=tokens.offsets[kept])


def _in_pieces(tokeniser: Tokeniser, text: str, tokens: Tokens) -> Tokens:
    lengths = tokens.offsets[:, 1] - tokens.offsets[:, 0]
    unknown = tokens.ids == tokeniser.unknown_id
    long = np.flatnonzero((lengths > LONGEST_TOKEN) | (unknown & (lengths > PIECE_CHARACTERS)))
    if not len(long):
        return tokens
    split = inside(text)
    cuts = [_cuts(start, end, split) for start, end in tokens.offsets[long].tolist()]
    spans = [span for token_spans in cuts for span in token_spans]
    pieces = iter(tokeniser.tokenise([text[start:end] for start, end in spans]))
    ids, offsets, after = [], [], 0
    for token, token_spans in zip(long.tolist(), cuts, strict=True):
        ids.append(tokens.ids[after:token])
        offsets.append(tokens.offsets[after:token])
        for start, _ in token_spans:
            piece = next(pieces)
            ids.append(piece.ids)
            offsets.append(piece.offsets + np.int32(start))
        after = token + 1
    return Tokens(
        ids=np.concatenate([*ids, tokens.ids[after:]]),
        offsets=np.concatenate([*offsets, tokens.offsets[after:]]),
    )


def _cuts(start: int, end: int, split: NDArray[np.bool_] | None) -> list[tuple[int, int]]:
    """Return spans of at most ``PIECE_CHARACTERS`` characters. A letter and its marks stay together if they
    fit into one span.
    """
    found = []
    while end - start > PIECE_CHARACTERS:
        cut = start + PIECE_CHARACTERS
        while split is not None and split[cut] and cut > start + 1:
            cut -= 1
        if split is not None and split[cut]:
            cut = start + PIECE_CHARACTERS
        found.append((start, cut))
        start = cut
    return [*found, (start, end)]
