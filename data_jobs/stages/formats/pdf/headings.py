"""Find the headings of a PDF by its outline or by the sizes of its letters, because a PDF marks no headings.

    pages = [ReadPage(paragraphs=["1\\nScope", "This ..."], sizes=[14.3, 10.0])]
    structures(pages, joined, first=0, outline=[], labels=[])
    # [PageStructure(blocks=(Block(kind=BlockKind.HEADING, start=0, end=7, level=2),))]

The level depends only on the paragraph and on the usual size of letters, not on the other headings. So a
document has the same headings whether it is read as a whole or in parts.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.page_structure import Block, BlockKind, PageStructure
from data_jobs.stages.formats.line_ends import BLANK_LINE

#: Levels of headings, and the least ratio of their letters to most letters of the text. LaTeX's ``\\section``
#: has 1.3 to 1.6, its ``\\subsection`` 1.2 to 1.3; browsers show ``h1`` to ``h3`` at 2, 1.5 and 1.17.
LEVELS = ((1, 1.65), (2, 1.28), (3, 1.12))
#: Prose has at least this share of the letters.
MANY_LETTERS = 0.2
#: The outline counts if at least this share of its entries are titles on the pages. Otherwise the sizes
#: of letters count.
FOUND_SHARE = 0.5
#: Maximum number of characters and lines of a heading. A number and its title can be two lines.
MAX_CHARACTERS, MAX_LINES = 120, 3
#: A heading has a word and does not begin with a small letter, as labels in drawings do.
WORD = re.compile(r"[^\W\d_]{3,}")
#: Addresses and remarks in parentheses on title pages are no headings.
NO_HEADING = re.compile(r"^\(|@|://")
NUMBER = re.compile(r"^(?:[A-Z\d]{1,3}\.)*[A-Z\d]{1,3}\.?\s+")
DOTTED = re.compile(r"(?:\d{1,3}\.)*\d{1,3}\.?\s")
#: Maximum number of characters of a page's label.
MAX_LABEL = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadPage:
    """One page as a library read it."""

    #: The paragraphs; their lines end in ``\\n``.
    paragraphs: list[str] = field(default_factory=list)
    #: The font size of each paragraph; empty if the sizes are not known.
    sizes: list[float] = field(default_factory=list)
    #: Why text of the page could not be read; "" if all text was read.
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutlineEntry:
    """An entry of the document's outline, which PDF readers show beside the pages."""

    #: From 1, the highest level.
    level: int
    title: str
    #: Place of the page, from 0.
    page: int


def structures(
    pages: Sequence[ReadPage],
    joined: Sequence[Sequence[str]],
    *,
    first: int,
    outline: Sequence[OutlineEntry],
    labels: Sequence[str],
) -> list[PageStructure]:
    """Return the structure of each page.

    Args:
        pages: the pages that were read.
        joined: the paragraphs of each page with joined lines, as the text of the page has them.
        first: place of the first of these pages in the document, from 0.
        outline: the outline of the document.
        labels: the label of each page, such as "iv"; empty if the pages have no labels.
    """
    titles: dict[int, dict[str, int]] = {}
    for entry in outline:
        titles.setdefault(entry.page - first, {}).setdefault(_bare(entry.title), entry.level)
    by_title = [_with_levels(page, titles.get(place, {})) for place, page in enumerate(joined)]
    wanted = sum(len(titles.get(place, {})) for place in range(len(pages)))
    by_outline = 0 < FOUND_SHARE * wanted <= sum(level > 0 for levels in by_title for level in levels)
    usual = _usual_size(pages)
    found = []
    for place, (page, paragraphs) in enumerate(zip(pages, joined, strict=True)):
        levels = by_title[place] if by_outline else _by_size(page, paragraphs, usual)
        label = labels[place][:MAX_LABEL] if labels else ""
        found.append(
            PageStructure(
                label="" if label == str(first + place + 1) else label, blocks=_blocks(paragraphs, levels)
            )
        )
    return found


def _bare(title: str) -> str:
    """Return a title without its number, its last punctuation mark, spaces and case."""
    return "".join(NUMBER.sub("", title.strip()).split()).casefold().rstrip(".:")


def _with_levels(paragraphs: Sequence[str], titles: dict[str, int]) -> list[int]:
    """Return the level of each paragraph that is a title of the outline; 0 for other paragraphs."""
    if not titles:
        return [0] * len(paragraphs)
    return [titles.get(_bare(text), 0) if len(text) <= MAX_CHARACTERS else 0 for text in paragraphs]


def _usual_size(pages: Sequence[ReadPage]) -> float:
    """Return the font size of prose: the largest size that many letters have; 0 if no size is known. Program
    text may have more letters than prose, and is smaller.
    """
    letters: Counter[float] = Counter()
    for page in pages:
        for text, size in zip(page.paragraphs, page.sizes, strict=False):
            letters[round(size, 1)] += len(text)
    many = MANY_LETTERS * letters.total()
    return max((size for size, count in letters.items() if count >= many), default=0.0)


def _by_size(page: ReadPage, paragraphs: Sequence[str], usual: float) -> list[int]:
    """Return the level of each paragraph that is a heading by its size; 0 for other paragraphs."""
    if not usual or len(page.sizes) != len(paragraphs):
        return [0] * len(paragraphs)
    return [
        _level(size / usual, text) if _may_be_heading(text) and _has_few_lines(lines) else 0
        for lines, text, size in zip(page.paragraphs, paragraphs, page.sizes, strict=True)
    ]


def _has_few_lines(paragraph: str) -> bool:
    return paragraph.strip("\n").count("\n") < MAX_LINES


def _may_be_heading(text: str) -> bool:
    word = WORD.search(text) if len(text) <= MAX_CHARACTERS else None
    return word is not None and not word[0][0].islower() and NO_HEADING.search(text) is None


def _level(ratio: float, text: str) -> int:
    """Return the level by the size, or by the number of the heading ("2.1.3") if the number is deeper.

    The level is 0 if the size is the size of prose.
    """
    level = next((level for level, least in LEVELS if ratio >= least), 0)
    number = DOTTED.match(text)
    return max(level, len(number[0].rstrip(". ").split("."))) if level and number else level


def _blocks(paragraphs: Sequence[str], levels: Sequence[int]) -> tuple[Block, ...]:
    blocks, start = [], 0
    for text, level in zip(paragraphs, levels, strict=True):
        if text and level:
            blocks.append(Block(kind=BlockKind.HEADING, start=start, end=start + len(text), level=level))
        start += len(text) + len(BLANK_LINE) if text else 0
    return tuple(blocks)
