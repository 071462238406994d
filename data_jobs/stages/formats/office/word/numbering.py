"""Compute the numbers of headings and list items of a Word document, which are not in its text.

numbering = Numbering(read_tree(package.read("word/numbering.xml")))
numbering.next_label("3", 0)        # "1."
numbering.next_label("3", 1)        # "1.1."
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.list_labels import BULLET, in_letters, in_roman
from data_jobs.stages.formats.office.word.styles import is_on, number, value_of

#: Levels of a list (ECMA-376).
LEVELS = 9
#: Places for the numbers of levels in the text of a label, such as "%1.%2".
PLACE = re.compile(r"%([1-9])")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    """Says how one level of a list is numbered."""

    start: int
    #: Name of the format in ECMA-376, such as "decimal" or "bullet".
    format: str
    #: The label, with places for numbers.
    label: str
    #: True if the numbers of higher levels are shown in decimal digits.
    in_digits: bool


class Numbering:
    """Counts the items of the lists of one document.

    Args:
        root: the root of the part of numberings; None if the document has none.
    """

    def __init__(self, root: Element | None) -> None:
        self._levels: dict[str, dict[int, _Level]] = {}
        #: Id of the abstract list of each list. Lists of one abstract list continue each other's numbers.
        self._abstract: dict[str, str] = {}
        self._reached: dict[str, list[int | None]] = defaultdict(lambda: [None] * LEVELS)
        if root is None:
            return
        abstracts = {element.get("w:abstractNumId", ""): element for element in root.findall("w:abstractNum")}
        named = {value_of(element, "w:styleLink"): key for key, element in abstracts.items()}
        for element in root.findall("w:num"):
            list_id = element.get("w:numId", "")
            key = value_of(element, "w:abstractNumId")
            if key in abstracts:  # a list may take its levels from the list that defines a style
                key = named.get(value_of(abstracts[key], "w:numStyleLink") or "-", key)
            levels = _levels(abstracts[key]) if key in abstracts else {}
            restarts = False
            for override in element.findall("w:lvlOverride"):
                at = number(override.get("w:ilvl", ""))
                levels |= _levels(override)
                start = value_of(override, "w:startOverride")
                if start and at in levels:
                    old, restarts = levels[at], True
                    levels[at] = _Level(
                        start=number(start), format=old.format, label=old.label, in_digits=old.in_digits
                    )
            self._levels[list_id] = levels
            self._abstract[list_id] = f"list {list_id}" if restarts else key

    def next_label(self, list_id: str, level: int) -> str:
        """Count one item of a list, and return the label that people see before the item, or "".

        Args:
            list_id: id of the list.
            level: level of the item, from 0.
        """
        levels = self._levels.get(list_id)
        if levels is None or level not in levels:
            return ""
        reached = self._reached[self._abstract[list_id]]
        current = reached[level]
        reached[level] = levels[level].start if current is None else current + 1
        reached[level + 1 :] = [None] * (LEVELS - level - 1)
        own = levels[level]
        if own.format == "bullet":
            return BULLET
        if own.format == "none":
            return ""

        def shown(place: re.Match[str]) -> str:
            at = int(place[1]) - 1
            other = levels.get(at)
            if other is None:
                return ""
            value = reached[at]
            count = other.start if value is None else value
            return _shown(count, "decimal" if own.in_digits else other.format)

        return PLACE.sub(shown, own.label).strip()


def _levels(parent: Element) -> dict[int, _Level]:
    """Return the levels that an abstract list or an override defines."""
    levels = {}
    for element in parent.findall("w:lvl"):
        at = number(element.get("w:ilvl", ""))
        if at < LEVELS:
            levels[at] = _Level(
                start=number(value_of(element, "w:start"), 1),
                format=value_of(element, "w:numFmt") or "decimal",
                label=value_of(element, "w:lvlText"),
                in_digits=is_on(element, "w:isLgl"),
            )
    return levels


def _shown(count: int, format: str) -> str:
    """Return a number as the list shows it. Formats for only one language become decimal digits."""
    if format in {"upperRoman", "lowerRoman"}:
        roman = in_roman(count)
        return roman if format == "upperRoman" else roman.lower()
    if format in {"upperLetter", "lowerLetter"}:
        letters = in_letters(count)
        return letters if format == "upperLetter" else letters.lower()
    if format == "decimalZero":
        return f"{count:02d}"
    return "" if format in {"bullet", "none"} else str(count)
