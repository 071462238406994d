"""Read the paragraphs of a shape of a slide as lines of text; list items have their marks.

lines_of(shape, bulleted=True)     # ["- Herons", "  - Grey heron", "1. Bitterns"]
"""

from collections import defaultdict
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.list_labels import BULLET, in_letters, in_roman
from data_jobs.stages.formats.office.symbol_font import is_symbol_font, with_symbols
from data_jobs.stages.formats.office.word.paragraph import preferred
from data_jobs.stages.formats.office.word.styles import number

INDENT = "  "
#: Elements whose content is not text.
SILENT = frozenset({"a:pPr", "a:rPr", "a:endParaRPr", "a:bodyPr", "a:lstStyle"})
#: Highest number with which a list may begin (ECMA-376, ST_TextBulletStartAtNum).
LARGEST_START = 32_767


def lines_of(shape: Element, *, bulleted: bool) -> list[str]:
    """Return the paragraphs of a shape; a paragraph without text is left out.

    Args:
        shape: a shape or a cell.
        bulleted: True if paragraphs are list items unless they say otherwise, as in the body of a slide. A
            body with only one paragraph is prose.
    """
    paragraphs = [(paragraph, text) for paragraph in shape.iter("a:p") if (text := _text(paragraph)).strip()]
    bulleted = bulleted and len(paragraphs) > 1
    counts: dict[int, int] = defaultdict(int)
    lines = []
    for paragraph, text in paragraphs:
        properties = paragraph.find("a:pPr")
        level = 0 if properties is None else min(number(properties.get("lvl", "0")), 8)
        for deeper in [known for known in counts if known > level]:
            del counts[deeper]
        label = _label(properties, counts, level, bulleted=bulleted)
        lines.append(f"{INDENT * level}{label} {text.strip()}" if label else text)
    return lines


def flat_text(cell: Element) -> str:
    """Return the text of a cell in one line."""
    return " ".join(lines_of(cell, bulleted=False))


def _label(properties: Element | None, counts: dict[int, int], level: int, *, bulleted: bool) -> str:
    """Return the mark of a paragraph, and count the paragraph if its list is numbered."""
    numbered = None if properties is None else properties.find("a:buAutoNum")
    if numbered is not None:
        start = min(max(1, number(numbered.get("startAt", "1"), 1)), LARGEST_START)
        counts[level] += 1
        return _numbered(start + counts[level] - 1, numbered.get("type", ""))
    counts.pop(level, None)
    if properties is not None:
        if properties.find("a:buNone") is not None:
            return ""
        if properties.find("a:buChar") is not None or properties.find("a:buBlip") is not None:
            return BULLET
    return BULLET if bulleted else ""


def _numbered(count: int, scheme: str) -> str:
    """Return a number as a numbering scheme such as "romanUcPeriod" shows it."""
    if scheme.startswith("roman"):
        shown = in_roman(count)
    elif scheme.startswith("alpha"):
        shown = in_letters(count)
    else:
        shown = str(count)
    if "Lc" in scheme:
        shown = shown.lower()
    if scheme.endswith("ParenBoth"):
        return f"({shown})"
    return f"{shown})" if scheme.endswith("ParenR") else shown if scheme.endswith("Plain") else f"{shown}."


def _text(paragraph: Element) -> str:
    return "".join(_pieces(paragraph))


def _pieces(element: Element) -> Iterator[str]:
    for child in element:
        if child.tag in SILENT:
            continue
        if child.tag == "a:r" and _is_symbol(child):
            yield with_symbols("".join(_pieces(child)))
        elif child.tag in {"a:t", "m:t"}:
            yield child.text or ""
        elif child.tag == "a:br":
            yield "\n"
        elif child.tag == "a:tab":
            yield "\t"
        elif child.tag == "mc:AlternateContent":
            yield from _pieces(preferred(child))
        else:
            yield from _pieces(child)


def _is_symbol(run: Element) -> bool:
    properties = run.find("a:rPr")
    if properties is None:
        return False
    return any(
        font.tag in {"a:sym", "a:latin"} and is_symbol_font(font.get("typeface", "")) for font in properties
    )
