"""Find the tokens before which a page is best cut: the beginnings of sentences and of the blocks of the page.

Sentences begin only in prose. A table is cut between its rows, but not between its header and its first row.
Code is cut between lines. A heading stays with the text after it. ``cut_page`` calls this module.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from cluster.page_structure import Block, BlockKind
from cluster.records import Page
from data_jobs.stages.chunkers.sentences import boundaries, paragraphs
from data_jobs.stages.chunkers.token_places import TokenPlaces

#: Number of the highest bit of a priority. On a page without blocks, a cut before a paragraph has this bit.
#: On a page with blocks, a cut before a heading has this bit, and a cut before a paragraph has the next bit.
HIGHEST_BIT = 63
VISIBLE = re.compile(r"\S")


def sentence_places(
    page: Page, places: TokenPlaces
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the tokens that begin a sentence or a part of a block.

    Returns:
        The numbers of the tokens; for each token, the priority of a cut before the token; and for each token,
        True if the token begins a table, a row of a table, or a line of code.
    """
    text, blocks = page.text, page.structure.blocks
    breaks = paragraphs(text)
    starts, beginnings = boundaries(text, breaks).tolist(), set(breaks.tolist())
    lines: set[int] = set()
    if blocks:
        lines = {start for block in blocks for start in _line_starts(text, block)}
        starts = _with_blocks(text, starts, blocks, lines)
        beginnings.update(start for start in lines if _begins_part_of_code(text, start))
    headings = {block.start for block in blocks if block.kind is BlockKind.HEADING}
    priorities: dict[int, int] = {}
    is_line: list[bool] = []
    at = np.searchsorted(places.begin[:-1], starts)
    whole = np.append(places.whole[:-1], False)[at]
    for start, end, token, cuttable in zip(
        starts, [*starts[1:], len(text)], at.tolist(), whole.tolist(), strict=True
    ):
        if token and cuttable and token not in priorities:
            priority = _priority(text[start:end], begins_paragraph=start in beginnings)
            if blocks:
                priority = priority >> 1 | (start in headings) << HIGHEST_BIT
            priorities[token] = priority
            is_line.append(start in lines)
    return (
        np.array(list(priorities), dtype=np.int64),
        np.array(list(priorities.values()), dtype=np.uint64),
        np.array(is_line, dtype=np.bool_),
    )


def _with_blocks(text: str, starts: Sequence[int], blocks: Sequence[Block], lines: set[int]) -> list[int]:
    """Return the starts of the sentences outside the blocks, of the blocks, and of ``lines``.

    The start directly after a heading is left out, unless a heading of the same or a higher level begins
    there.
    """
    found = set(starts)
    for block in blocks:
        found.difference_update(starts[bisect_right(starts, block.start) : bisect_left(starts, block.end)])
        found.add(block.start)
    found |= lines
    for block, following in zip_longest(blocks, blocks[1:]):
        if block.kind is BlockKind.HEADING:
            after = VISIBLE.search(text, block.end)
            first = after.start() if after else len(text)
            next_heading = following is not None and following.kind is BlockKind.HEADING
            if not (next_heading and following.start <= first and following.level <= block.level):
                found.discard(first)
                if following is not None and following.start <= first:
                    found.discard(following.start)
    return sorted(found)


def _line_starts(text: str, block: Block) -> Iterator[int]:
    """Yield the start of a table or of code, and the starts of its rows or lines; nothing for a heading."""
    if block.kind is BlockKind.HEADING:
        return
    yield block.start
    # The first row stays with the header.
    position = block.body if block.kind is BlockKind.TABLE else block.start
    while (position := text.find("\n", position, block.end) + 1) > 0:
        if text[position : position + 1] != "\n" and position < block.end:
            yield position


def _begins_part_of_code(text: str, start: int) -> bool:
    """Return True if a line without indentation, such as the first of a function, follows a blank line."""
    return text[start - 2 : start] == "\n\n" and not text[start].isspace()


def _priority(sentence: str, *, begins_paragraph: bool) -> int:
    """Return a priority made from the words of the sentence. A sentence that begins a paragraph has a higher
    priority than any other sentence. White space does not count, because a new layout changes white space.
    """
    words = " ".join(sentence.split()).encode("utf-8", "replace")
    return (
        int.from_bytes(blake2b(words, digest_size=8).digest(), "big") >> 1 | begins_paragraph << HIGHEST_BIT
    )
