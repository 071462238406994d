"""Read the text of one paragraph of a Word document as a reader sees it.

    reader = WordParagraphReader(mark_of=mark_of)
    line = reader.read(paragraph)
    line.text, line.notes       # "Herons stand still.[1]", [("footnotes", "2")]

Deleted and moved-away text, instructions of fields and comments are left out. Text boxes, charts and
diagrams inside the paragraph are returned separately from the text.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.symbol_font import is_symbol_font, symbol_text, with_symbols
from data_jobs.stages.formats.office.word.styles import is_on
from data_jobs.stages.formats.office.xml_tree import texts

#: Elements whose content is not text of the document: properties, deleted text, instructions of fields.
SILENT = frozenset(
    "w:pPr w:rPr w:sdtPr w:sdtEndPr w:rubyPr w:rt w:del w:moveFrom w:delText w:instrText w:delInstrText "
    "w:fldData w:tblPr w:trPr w:tcPr m:rPr m:ctrlPr".split()
)
#: The texts of elements without content.
SYMBOLS = {
    "w:tab": "\t",
    "w:ptab": "\t",
    "w:br": "\n",
    "w:cr": "\n",
    "w:noBreakHyphen": "\N{NON-BREAKING HYPHEN}",
}
#: Kinds of the parts with notes, by the element that refers to a note.
NOTES = {"w:footnoteReference": "footnotes", "w:endnoteReference": "endnotes"}
TEXT, BOX, PICTURE = "w:t", "w:txbxContent", "wp:docPr"
#: Elements of text: of a run, of a formula, of a drawing.
SHOWN = frozenset({TEXT, "m:t", "a:t"})


@dataclass(kw_only=True, slots=True)
class WordLine:
    """Holds the content of one paragraph."""

    text: str = ""
    #: The notes to which the text refers: the kind of the part, and the id of the note.
    notes: list[tuple[str, str]] = field(default_factory=list)
    #: The contents of text boxes.
    boxes: list[Element] = field(default_factory=list)
    #: Ids of the relationships to charts and diagrams.
    drawings: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class WordParagraphReader:
    """Reads the paragraphs of one document in their order.

    Args:
        mark_of: returns the mark of a note in the text, such as "[1]".
    """

    mark_of: Callable[[str, str], str]
    #: Number of hidden characters so far.
    hidden: int = 0
    _parts: list[str] = field(default_factory=list)
    _line: WordLine = field(default_factory=WordLine)
    #: The fields around the current place, from the outermost; True for a field whose instruction is being
    #: read.
    _fields: list[bool] = field(default_factory=list)
    #: True inside a run in the font Symbol.
    _is_symbol: bool = False

    def read(self, paragraph: Element) -> WordLine:
        """Return the content of a paragraph."""
        self._parts, self._line = [], WordLine()
        # An instruction ends with its paragraph, so a field that is never closed cannot hide the document.
        self._fields.clear()
        self._read_children(paragraph)
        self._line.text = "".join(self._parts)
        return self._line

    def _read_children(self, element: Element) -> None:
        for child in element:
            self._read(child)

    def _read(self, element: Element) -> None:
        tag = element.tag
        if tag in SILENT:
            return
        if tag == "w:r":
            self._read_run(element)
        elif tag in SHOWN:
            text = element.text or ""
            self._add(with_symbols(text) if self._is_symbol else text)
        elif tag in SYMBOLS:
            self._add(SYMBOLS[tag])
        elif tag in NOTES:
            self._read_note(element)
        elif tag == BOX:
            self._line.boxes.append(element)
        elif tag == "w:fldChar":
            self._read_field(element.get("w:fldCharType", ""))
        elif tag == "w:sym":
            self._read_symbol(element.get("w:font", ""), element.get("w:char", ""))
        elif tag == "mc:AlternateContent":
            self._read_children(preferred(element))
        elif tag in {"c:chart", "dgm:relIds"}:
            self._line.drawings.append(element.get("r:id", "") or element.get("r:dm", ""))
        else:
            if tag == PICTURE and (described := element.get("descr")):
                self._add(f" {described} ")
            self._read_children(element)

    def _read_run(self, run: Element) -> None:
        properties = run.find("w:rPr")
        fonts = None if properties is None else properties.find("w:rFonts")
        self._is_symbol = fonts is not None and is_symbol_font(fonts.get("w:ascii", ""))
        if is_on(properties, "w:vanish"):
            self.hidden += sum(len(text.strip()) for text in texts(run, TEXT))
            for child in run:
                if child.tag == "w:fldChar":
                    self._read(child)
            return
        self._read_children(run)

    def _read_note(self, reference: Element) -> None:
        kind, note = NOTES[reference.tag], reference.get("w:id", "")
        self._add(self.mark_of(kind, note))
        self._line.notes.append((kind, note))

    def _read_field(self, kind: str) -> None:
        if kind == "begin":
            self._fields.append(True)
        elif self._fields and kind == "separate":
            self._fields[-1] = False
        elif self._fields and kind == "end":
            self._fields.pop()

    def _read_symbol(self, font: str, code: str) -> None:
        try:
            self._add(symbol_text(font, int(code, 16)))
        except ValueError:
            return

    def _add(self, text: str) -> None:
        if not any(self._fields):
            self._parts.append(text)


def preferred(alternatives: Element) -> Element:
    """Return the first of several forms of the same content. The other forms are for older programs."""
    choice = alternatives.find("mc:Choice")
    fallback = alternatives.find("mc:Fallback")
    if choice is not None:
        return choice
    return alternatives if fallback is None else fallback
