"""Read the text of one paragraph of an OpenDocument file as a reader sees it.

reader = OdfParagraphReader(document=document)
line = reader.read(paragraph)
"""

from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.open_document.document import OpenDocument
from data_jobs.stages.formats.office.word.styles import number

#: Elements whose content is not text of the document.
SILENT = frozenset(
    "office:annotation text:tracked-changes text:ruby-text text:note-citation text:number "
    "text:hidden-text office:event-listeners draw:glue-point office:binary-data".split()
)
#: Elements that are not part of the line of text: text boxes, tables, and the paragraphs of other shapes.
BOXES = frozenset("draw:text-box table:table text:p text:h text:list".split())
#: Maximum number of spaces that one element represents.
MAX_SPACES = 100


@dataclass(kw_only=True, slots=True)
class OdfLine:
    """Holds the content of one paragraph."""

    text: str = ""
    #: The bodies of notes to which the text refers, each with its mark.
    notes: list[tuple[str, Element]] = field(default_factory=list)
    #: Text boxes and tables inside the paragraph, and the paragraphs and lists of other shapes.
    boxes: list[Element] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class OdfParagraphReader:
    """Reads the paragraphs of one document in their order."""

    document: OpenDocument
    #: Number of hidden characters so far.
    hidden: int = 0
    _notes: int = 0
    _parts: list[str] = field(default_factory=list)
    _line: OdfLine = field(default_factory=OdfLine)

    def read(self, paragraph: Element) -> OdfLine:
        """Return the content of a paragraph."""
        self._parts, self._line = [], OdfLine()
        if self._is_hidden("paragraph", paragraph):
            self.hidden += len("".join(paragraph.itertext()).strip())
            return self._line
        self._read_content(paragraph)
        self._line.text = "".join(self._parts)
        return self._line

    def _read_content(self, element: Element) -> None:
        self._add(element.text)
        for child in element:
            self._read(child)
            self._add(child.tail)

    def _read(self, element: Element) -> None:
        tag = element.tag
        if tag in SILENT:
            if tag == "text:hidden-text":
                self.hidden += len((element.text or "").strip())
        elif tag == "text:s":
            self._parts.append(" " * min(number(element.get("text:c", "1"), 1), MAX_SPACES))
        elif tag == "text:tab":
            self._parts.append("\t")
        elif tag == "text:line-break":
            self._parts.append("\n")
        elif tag == "text:note":
            self._read_note(element)
        elif tag in BOXES:
            self._line.boxes.append(element)
        elif tag in {"svg:title", "svg:desc"}:
            self._parts.append(f" {''.join(element.itertext())} ")
        elif tag == "draw:object":
            self._parts.append(self.document.embedded_text(element.get("xlink:href", "")))
        elif tag == "text:span" and self._is_hidden("text", element):
            self.hidden += len("".join(element.itertext()).strip())
        elif tag.startswith("draw:"):  # white space between the elements of shapes is not text
            for child in element:
                self._read(child)
        else:
            self._read_content(element)

    def _read_note(self, note: Element) -> None:
        body = note.find("text:note-body")
        if body is not None:
            self._notes += 1
            mark = f"[{self._notes}]"
            self._parts.append(mark)
            self._line.notes.append((mark, body))

    def _is_hidden(self, family: str, element: Element) -> bool:
        style = element.get("text:style-name", "")
        return bool(style) and self.document.styles.has(family, style, "text:display", "none")

    def _add(self, text: str | None) -> None:
        """Add text. Line ends and repeated spaces of the XML are one space (OpenDocument, section 6.1.2)."""
        if text:
            collapsed = " ".join(text.split())
            before = " " if text[0].isspace() else ""
            after = " " if collapsed and text[-1].isspace() else ""
            self._parts.append(f"{before}{collapsed}{after}")
