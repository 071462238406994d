"""Read XML element by element, and add its text to a page. ``xml_text`` calls this module.

    page = PageBuilder()
    XmlReader(page, max_expanded=100).read("<bird><name>Heron</name></bird>")
    page.text()      # "name: Heron"

The reader keeps the text of open elements only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from xml.parsers import expat

from data_jobs.stages.formats.html import read_page
from data_jobs.stages.formats.page_builder import PageBuilder, in_one_line

#: Elements that title the element that contains them, in DocBook, TEI, JATS, DITA, Atom, RSS and others.
TITLES = frozenset({"title", "head", "heading", "articletitle", "article-title"})
#: Elements with prose, whose names are not shown.
PROSE = frozenset("p para simpara paragraph ab s seg l line li entry td th text term".split())
#: Elements whose spaces and line ends are kept.
PREFORMATTED = frozenset("programlisting screen literallayout codeblock code pre verbatim".split())
#: Attributes that say how to read the XML.
TECHNICAL = re.compile("xmlns|xml:|xsi:")
#: Tags that show that the text of an element is HTML, as in feeds.
MARKUP = re.compile(r"</[a-z][a-z0-9]*>|<br\s*/?>|<p>", re.IGNORECASE)
#: Maximum length of the value of an entity, in characters.
MAX_ENTITY = 1024
#: Maximum number of elements inside each other. The text of deeper elements is added to the element at this
#: depth around them.
MAX_DEPTH = 200
#: Maximum length of a heading, in characters. A longer title is a paragraph.
MAX_HEADING = 300


@dataclass(slots=True)
class OpenElement:
    """An element whose end has not been read."""

    name: str
    #: Number of titled elements around this element.
    level: int
    #: Names of the element and of its attributes, and the values of these attributes.
    attributes: list[str]
    #: The text since the last block, with the text of child elements.
    text: list[str] = field(default_factory=list)
    #: The child elements since the last block: True for prose, and the line.
    lines: list[tuple[bool, str]] = field(default_factory=list)
    #: True if the element has text outside its child elements.
    has_text: bool = False
    has_children: bool = False
    is_titled: bool = False


class XmlReader:
    """Reads one XML document.

    Args:
        page: the page that gets the text.
        max_expanded: maximum number of characters that internal entities may add.
    """

    def __init__(self, page: PageBuilder, *, max_expanded: int) -> None:
        self._page = page
        self._expandable = max_expanded
        self._entities: dict[str, str] = {}
        self._open: list[OpenElement] = []
        #: Number of open elements that are deeper than ``MAX_DEPTH``.
        self._deeper = 0
        #: The open elements that may have text which is not in the page yet, from the outermost on.
        self._unwritten: list[OpenElement] = []

    def read(self, text: str) -> None:
        """Read the document, and add its text to the page.

        Raises:
            expat.ExpatError: the text is not well-formed.
        """
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._declare
        # With this handler, expat replaces no entity in text, so entities cannot grow without a limit.
        parser.DefaultHandler = self._other
        parser.Parse(text, True)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if len(self._open) == MAX_DEPTH:
            self._deeper += 1
            self._add(self._open[-1], "\n")
            return
        name = name.rpartition(":")[2]
        level = 0
        if self._open:
            parent = self._open[-1]
            parent.has_children = True
            level = parent.level + parent.is_titled
        shown = [
            f"{name} {key.rpartition(':')[2]}: {in_one_line(value)}"
            for key, value in attributes.items()
            if value.strip() and not TECHNICAL.match(key)
        ]
        self._open.append(OpenElement(name=name, level=level, attributes=shown))

    def _text(self, text: str) -> None:
        if self._open:
            element = self._open[-1]
            if not element.has_text and text.strip():
                element.has_text = True
            self._add(element, text)

    def _other(self, markup: str) -> None:
        if markup.startswith("&"):
            value = self._entities.get(markup[1:-1], markup)
            self._expandable -= len(value)
            self._text(value if self._expandable >= 0 else markup)

    def _declare(self, name: str, is_parameter: bool, value: str | None, *_: str | None) -> None:
        if (
            value is not None
            and not is_parameter
            and len(value) <= MAX_ENTITY
            and not set(value) & {"&", "<"}
        ):
            self._entities[name] = value

    def _end(self, _: str) -> None:
        if self._deeper:
            self._deeper -= 1
            return
        element = self._open.pop()
        if self._unwritten and self._unwritten[-1] is element:
            self._unwritten.pop()
        parent = self._open[-1] if self._open else None
        if element.has_children and not element.has_text:
            lines = [(False, line) for line in element.attributes] + element.lines
            if lines:
                self._write_unwritten()
                self._write_lines(lines)
        elif parent is None:
            self._write_lines([(False, line) for line in element.attributes])
            self._page.paragraph(_one_line(element))
        elif element.name.lower() in PREFORMATTED and "\n" in (code := "".join(element.text)).strip():
            self._write_unwritten()
            self._page.code(code)
        elif element.name.lower() in TITLES and not parent.has_text:
            self._write_title(element, parent)
        else:
            self._add_to(parent, element)

    def _write_title(self, element: OpenElement, parent: OpenElement) -> None:
        title = _one_line(element)
        if title:
            self._write_unwritten()
            parent.is_titled = True
            if len(title) <= MAX_HEADING:
                self._page.heading(title, level=parent.level + 1)
            else:
                self._page.paragraph(title)

    def _add_to(self, parent: OpenElement, element: OpenElement) -> None:
        """Add a finished element without blocks to the text and to the lines of its parent. Only the end of
        the parent shows which of the two is right.
        """
        text, is_prose = _one_line(element), element.has_children or element.name.lower() in PROSE
        # Inside a text, an inline element keeps the spaces at its ends.
        inline = f"\n{text}\n" if element.name.lower() in PROSE else "".join(element.text)
        self._add(parent, inline)
        if not is_prose:
            parent.lines += [(False, line) for line in element.attributes]
        if text:
            parent.lines.append((is_prose, text if is_prose else f"{element.name}: {text}"))

    def _add(self, element: OpenElement, text: str) -> None:
        element.text.append(text)
        if not self._unwritten or self._unwritten[-1] is not element:
            self._unwritten.append(element)

    def _write_unwritten(self) -> None:
        """Write the texts and lines of the open elements, because a block follows them."""
        for element in self._unwritten:
            if element.has_text:
                self._page.paragraph(_one_line(element))
            else:
                lines = [(False, line) for line in element.attributes] + element.lines
                element.attributes = []
                self._write_lines(lines)
            element.text, element.lines = [], []
        self._unwritten.clear()

    def _write_lines(self, lines: list[tuple[bool, str]]) -> None:
        for is_prose, group in groupby(lines, key=lambda line: line[0]):
            found = [text for _, text in group]
            for paragraph in found if is_prose else ["\n".join(found)]:
                self._page.paragraph(paragraph)


def _one_line(element: OpenElement) -> str:
    """Return the text of an element without repeated spaces. If the text is HTML, leave out the tags."""
    text = "".join(element.text)
    if MARKUP.search(text):
        text = read_page(text, hiding=False).text
    return in_one_line(text)
