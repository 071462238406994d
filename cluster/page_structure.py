"""Define the structure of a page (its headings, tables, code and name), and the place of a chunk in the
structure.

Parsers fill the structure (``data_jobs/stages/formats/page_builder.py``), and chunkers read it, so that a
chunk can name its heading, its sheet and its rows.

    Block(kind=BlockKind.HEADING, start=0, end=12, level=1)
    PageStructure(label="Costs", blocks=(Block(kind=BlockKind.TABLE, start=0, end=90, body=33, first_row=2),))
    ChunkPlace(label="Costs", cells="A2:F9")
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class BlockKind(StrEnum):
    """The kinds of blocks that chunkers distinguish from prose."""

    HEADING = "heading"
    #: A table with one line of text for each row. The header row, if there is one, comes first.
    TABLE = "table"
    #: Program text or other preformatted lines.
    CODE = "code"


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One block of a page: ``page.text[start:end]``. The blocks of a page do not overlap."""

    kind: BlockKind
    #: Character of the page's text at which the block begins, from 0.
    start: int
    #: Character of the page's text before which the block ends (exclusive).
    end: int
    #: For a heading: its level, from 1 (the highest).
    level: int = 0
    #: For a table: character of the page's text at which the rows under the header begin; equal to ``start``
    #: if the table has no header.
    body: int = 0
    #: For a table: number of the row at ``body``, from 1. Each following line is the next row.
    first_row: int = 0
    #: For a table of a sheet: its first and its last column, as in "A:F".
    columns: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageStructure:
    """The structure of one page. The structure of a page of prose is empty."""

    #: Name of the page, such as the name of a sheet or of a slide; "" if people call the page by its number.
    label: str = ""
    #: The blocks in ascending order.
    blocks: tuple[Block, ...] = ()


#: The structure of a page of prose.
PROSE = PageStructure()


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkPlace:
    """The place of a chunk in the structure of its document. Search hits show the place, and filters can test
    its fields.

    The fields are system attributes of the chunk. A field that does not apply to the chunk is "".
    """

    #: The headings of the chapter and the sections in which the chunk begins, from the highest level down:
    #: "Guide > Install > Linux".
    heading: str = ""
    #: ``PageStructure.label`` of the chunk's page, such as the name of a sheet.
    label: str = ""
    #: The cells of a sheet that the chunk contains, such as "A2:F9", or "A2:F9, A12:C14" for two tables.
    cells: str = ""
    #: Numbers of the rows that the chunk contains, such as "12-15" or "12", if the table is not in a sheet.
    rows: str = ""

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Self:
        """Read the place from the system attributes of a chunk."""
        values = {name: attributes.get(name) for name in PLACE_NAMES}
        return cls(**{name: value for name, value in values.items() if isinstance(value, str)})

    def shown(self, page: int | None) -> str:
        """Return the place without its heading, in a form for people, such as "page 12", "Costs, A2:F9" or
        "page 3, rows 12-15".

        Args:
            page: number of the chunk's page; None if the page has no number.
        """
        where = self.label or ("" if page is None else f"page {page}")
        rows = self.cells or (f"rows {self.rows}" if self.rows else "")
        return ", ".join(filter(None, [where, rows]))

    def attributes(self) -> dict[str, str]:
        """Return the fields that are not empty, by their names."""
        return {name: value for name in PLACE_NAMES if (value := getattr(self, name))}


#: Names of the system attributes that describe the place of a chunk.
PLACE_NAMES = ("heading", "label", "cells", "rows")
#: The place of a chunk of prose.
NO_PLACE = ChunkPlace()
