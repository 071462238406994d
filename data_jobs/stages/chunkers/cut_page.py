"""Find the places at which a page may be cut between its tokens. All chunkers use this module.

page = CutPage(Page(number=1, text=text), tokens)
page.last_end(0, most=254, most_characters=16_384)      # the first chunk ends at the latest before this token
best(76, 254, page.sentences)                           # the second chunk begins with this token
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Tokens
from cluster.page_structure import Block, BlockKind
from cluster.records import Page
from data_jobs.stages.chunkers.chunk_places import PagePlaces
from data_jobs.stages.chunkers.structured_places import HIGHEST_BIT, sentence_places
from data_jobs.stages.chunkers.token_places import TokenPlaces

#: 2**64 divided by the golden ratio, so that products with this number differ in their high bits.
GOLDEN_MULTIPLIER = np.uint64(11400714819323198485)

#: Numbers of the tokens before which a page may be cut, in ascending order, and the priority of each cut.
CutPlaces = tuple[NDArray[np.int64], NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class Context:
    """Text that a reader needs to understand a chunk; see ``PageChunk.context``."""

    text: str = ""
    #: The token ids of the text and of the line end after the text.
    ids: tuple[int, ...] = ()


NO_CONTEXT = Context()


@dataclass(frozen=True, slots=True)
class Cut:
    """One chunk of a page: the tokens with the numbers from ``first`` to ``last - 1``."""

    first: int
    last: int
    context: Context = NO_CONTEXT


class CutPage:
    """A page, its tokens, and the places at which it may be cut."""

    def __init__(self, page: Page, tokens: Tokens) -> None:
        self.page = page
        self.tokens = tokens
        self.places = TokenPlaces.of(page.text, tokens)
        #: Number of tokens that chunks have to hold. A page without visible characters has no chunk.
        self.total: int = len(tokens.ids) if self.places.characters else 0
        #: The contexts of chunks of this page, by their texts, so that each text is tokenised once.
        self.contexts: dict[str, Context] = {}
        #: The places of the headings of the page; None if the chunker does not use headings.
        self.headings: PagePlaces | None = None
        self._block_ends = [block.end for block in page.structure.blocks]

    def header_at(self, first: int) -> str:
        """Return the header of the table whose body has this token; "" if there is no such table."""
        block = self._block_at(first)
        if block is None or block.kind is not BlockKind.TABLE or self.places.begin[first] < block.body:
            return ""
        return self.page.text[block.start : block.body].strip()

    def in_lines(self, token: int) -> bool:
        """Return True if a cut before this token is inside a table or inside code."""
        block = self._block_at(token)
        return (
            block is not None
            and block.kind is not BlockKind.HEADING
            and bool(self.places.begin[token] > block.start)
        )

    def _block_at(self, token: int) -> Block | None:
        start, blocks = int(self.places.begin[token]), self.page.structure.blocks
        at = bisect_right(self._block_ends, start)
        return blocks[at] if at < len(blocks) and blocks[at].start <= start else None

    def last_end(self, first: int, *, most: int, most_characters: int) -> int:
        """Return the number of the last token before which a chunk with the first token ``first`` may end."""
        places = self.places
        end, room = min(first + most, len(places.end) - 1), places.begin[first] + most_characters
        if places.end[end] <= room:
            return end
        return max(first + 1, int(np.searchsorted(places.end[: end + 1], room, side="right")) - 1)

    @cached_property
    def _sentence_places(self) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.bool_]]:
        return sentence_places(self.page, self.places)

    @property
    def sentences(self) -> CutPlaces:
        """The tokens that begin a sentence, a block, a row of a table, or a line of code."""
        return self._sentence_places[:2]

    @property
    def section_starts(self) -> NDArray[np.int64]:
        """The tokens that begin a heading, in ascending order, without headings directly after a higher
        heading.
        """
        tokens, priorities, _ = self._sentence_places
        if not self.page.structure.blocks:
            return tokens[:0]
        return tokens[priorities >= np.uint64(1 << HIGHEST_BIT)]

    @cached_property
    def lines(self) -> NDArray[np.int64]:
        """The tokens that begin a table, a row of a table, or a line of code, in ascending order."""
        tokens, _, is_line = self._sentence_places
        return tokens[is_line]

    @cached_property
    def block_parts(self) -> NDArray[np.int64]:
        """The tokens that begin a table, code, or the first row under the header of a table, in ascending
        order. ``lines`` leaves out the beginning of a block directly after a heading, and such first rows.
        """
        blocks = [block for block in self.page.structure.blocks if block.kind is not BlockKind.HEADING]
        bodies = {block.body for block in blocks if block.start < block.body < block.end}
        starts = sorted({block.start for block in blocks} | bodies)
        tokens = np.searchsorted(self.places.begin[:-1], starts)
        return tokens[self.places.whole[tokens]]

    @cached_property
    def words(self) -> CutPlaces:
        """The tokens that follow white space. A cut at white space changes no token."""
        starts = np.flatnonzero((self.places.spaced & self.places.whole)[1:-1]) + 1
        # The priority depends on four tokens, because in a table two neighbouring tokens often repeat, but
        # four tokens rarely repeat. The product spreads the priorities (Knuth, TAOCP 6.4).
        ids = self.tokens.ids
        padded = np.concatenate([ids, np.zeros(3, np.int32)]).astype(np.uint64)
        mixed = np.zeros(len(ids), dtype=np.uint64)
        for ahead in range(4):
            mixed = (mixed ^ padded[ahead : ahead + len(mixed)]) * GOLDEN_MULTIPLIER
        return starts, mixed[starts]

    def last_place(self, first: int, least: int, most: int) -> int:
        """Return the place at which a chunk that begins at ``first`` ends: the last place up to ``most``.

        The place is the end of a sentence from ``least`` on. If no sentence ends there, the place is the end
        of a row or a line, or else of a heading, of a table header, of a word, or of a letter.
        """
        return (
            last_of(least, most, self.sentences[0])
            or last_of(first + 1, most, self.lines)
            or last_of(first + 1, most, self.block_parts)
            or last_of(first + 1, most, self.words[0])
            or self.letter(first, most)
        )

    def letter(self, first: int, most: int) -> int:
        """Return the last of the tokens from ``first + 1`` to ``most`` that begins a letter.

        A letter is a character with its combining marks. If none of these tokens begins a letter, return the
        last of them that begins a character. If none begins a character either, return the first token after
        ``most`` that begins a character.
        """
        apart = self.places.begin >= self.places.end
        for possible in (self.places.whole, apart):
            found = np.flatnonzero(possible[first + 1 : most + 1])
            if len(found):
                return first + 1 + int(found[-1])
        return most + int(np.flatnonzero(apart[most:])[0])


def best(least: int, most: int, places: CutPlaces) -> int | None:
    """Return the place with the highest priority from ``least`` to ``most``; None if there is no place."""
    tokens, priorities = places
    low, high = np.searchsorted(tokens, [least, most + 1])
    return int(tokens[low + np.argmax(priorities[low:high])]) if low < high else None


def last_of(least: int, most: int, tokens: NDArray[np.int64]) -> int | None:
    """Return the last of the tokens from ``least`` to ``most``; None if there is no such token."""
    at = int(np.searchsorted(tokens, most, side="right")) - 1
    return int(tokens[at]) if at >= 0 and tokens[at] >= least else None
