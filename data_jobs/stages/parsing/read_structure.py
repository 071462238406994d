"""Check the structure of a page that the parsing process wrote."""

from itertools import pairwise
from typing import Any

from cluster.page_structure import PROSE, Block, BlockKind, PageStructure
from cluster.text.storable_text import is_text

#: Maximum number of characters of the name of a page, and of the columns of a table ("A:XFD").
MAX_LABEL, MAX_COLUMNS = 256, 16


def read_structure(written: Any, *, length: int) -> PageStructure:
    """Return the structure of a page.

    Args:
        written: ``dataclasses.asdict`` of the structure, or None for prose.
        length: number of characters of the page's text.

    Raises:
        ValueError, TypeError, KeyError: the structure is invalid, perhaps because the child parsed hostile
            bytes.
    """
    if written is None:
        return PROSE
    blocks = tuple(_block(block, length) for block in written["blocks"])
    if any(block.end > following.start for block, following in pairwise(blocks)):
        raise ValueError("blocks that overlap")
    return PageStructure(label=_short(written["label"], MAX_LABEL), blocks=blocks)


def _block(written: Any, length: int) -> Block:
    block = Block(**{**written, "kind": BlockKind(written["kind"])})
    numbers = block.start, block.end, block.level, block.body, block.first_row
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise TypeError("a place that is not a number")
    is_inside = block.start < block.end <= length
    if not is_inside or (block.kind is BlockKind.TABLE and not block.start <= block.body <= block.end):
        raise ValueError("a block outside its page")
    _short(block.columns, MAX_COLUMNS)
    return block


def _short(text: Any, most: int) -> str:
    if not isinstance(text, str):
        raise TypeError("a name that is not text")
    if len(text) > most:
        raise ValueError("a name that is too long")
    if not is_text(text):
        raise ValueError("a name that Postgres cannot store")
    return text
