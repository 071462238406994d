"""Look up what the paragraph styles of a Word document say: the level of a heading, code, a list.

styles = WordStyles(read_tree(package.read("word/styles.xml")))
styles.of("Heading2").level     # 2
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

#: Names of the styles of headings without an outline level. Built-in styles have English names in the file,
#: in every language of Word.
HEADING = re.compile(r"heading (\d)|title", re.IGNORECASE)
#: Names of the styles of program text.
CODE = re.compile(r"\b(?:code|source|preformatted|verbatim|listing)\b", re.IGNORECASE)
#: Outline levels count from 0. This level means body text.
BODY_TEXT = 9
#: Values of a property that switch the property off.
OFF = frozenset({"0", "false", "off"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ParagraphStyle:
    """Holds what one paragraph style says."""

    #: Level of the heading, from 1; 0 for other text.
    level: int = 0
    is_code: bool = False
    #: Id of the list to which paragraphs of this style belong; "" means no list.
    list_id: str = ""
    #: Level of these paragraphs in the list, from 0.
    list_level: int = 0


class WordStyles:
    """Looks up the paragraph styles of one document.

    Args:
        root: the root of the part of styles; None if the document has none.
    """

    def __init__(self, root: Element | None) -> None:
        self._elements: dict[str, Element] = {}
        self._known: dict[str, ParagraphStyle] = {}
        #: Id of the style of paragraphs that name no style.
        self.default = ""
        for style in root if root is not None else ():
            if style.tag == "w:style" and style.get("w:type", "paragraph") == "paragraph":
                self._elements[style.get("w:styleId", "")] = style
                if style.get("w:default", "0") not in OFF:
                    self.default = style.get("w:styleId", "")

    def of(self, style_id: str) -> ParagraphStyle:
        """Return what the style says. If it lacks a property, the styles on which it is based decide."""
        if style_id not in self._known:
            self._known[style_id] = self._read(style_id)
        return self._known[style_id]

    def _read(self, style_id: str) -> ParagraphStyle:
        outline: int | None = None
        named_level, is_code, list_id, list_level = 0, False, "", 0
        for element in self._with_bases(style_id):
            name = value_of(element, "w:name")
            if not named_level and (found := HEADING.fullmatch(name)):
                named_level = int(found[1] or 1)
            is_code = is_code or CODE.search(name) is not None
            properties = element.find("w:pPr")
            if properties is None:
                continue
            if outline is None:
                outline = outline_level(properties)
            if not list_id and (numbered := properties.find("w:numPr")) is not None:
                list_id, list_level = value_of(numbered, "w:numId"), number(value_of(numbered, "w:ilvl"))
        level = named_level if outline is None else outline
        return ParagraphStyle(level=level, is_code=is_code, list_id=list_id, list_level=list_level)

    def _with_bases(self, style_id: str) -> Iterator[Element]:
        """Yield the style and the styles on which it is based, each once even if they form a loop."""
        seen: set[str] = set()
        while style_id in self._elements and style_id not in seen:
            seen.add(style_id)
            element = self._elements[style_id]
            yield element
            style_id = value_of(element, "w:basedOn")


def outline_level(properties: Element) -> int | None:
    """Return the heading level, from 1, of an outline level; 0 for body text; None without outline level."""
    written = value_of(properties, "w:outlineLvl")
    if not written:
        return None
    level = number(written)
    return level + 1 if level < BODY_TEXT else 0


def value_of(element: Element, tag: str) -> str:
    """Return the value of a property of the element; "" if the element lacks it."""
    found = element.find(tag)
    return "" if found is None else found.get("w:val", "")


def is_on(element: Element | None, tag: str) -> bool:
    """Return True if the element has this property, and the property is not switched off."""
    found = None if element is None else element.find(tag)
    return found is not None and found.get("w:val", "1") not in OFF


def number(written: str, default: int = 0) -> int:
    """Return the value of an attribute as a number; ``default`` if it is no number of at most 9 digits."""
    return int(written) if written.isascii() and written.isdigit() and len(written) < 10 else default
