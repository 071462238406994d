"""Write the shapes of one slide into a page: title, text, tables, charts, diagrams, descriptions of pictures.

SlideWriter(page=page, package=package, relationships=related, footers=set()).write(slide)
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.drawing import text_of_drawing
from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.powerpoint.paragraphs import flat_text, lines_of
from data_jobs.stages.formats.office.relationships import Relationship
from data_jobs.stages.formats.office.word.paragraph import preferred
from data_jobs.stages.formats.office.word.styles import OFF
from data_jobs.stages.formats.office.xml_tree import first
from data_jobs.stages.formats.page_builder import PageBuilder

#: Types of placeholders: the title of a cover, all titles, and the texts that repeat (number, date, header).
COVER_TITLE, TITLES, COUNTERS = (
    "ctrTitle",
    frozenset({"ctrTitle", "title"}),
    frozenset({"sldNum", "dt", "hdr"}),
)
#: Types of placeholders: the footer, and the text of a slide or of its notes.
FOOTER, BODIES = "ftr", frozenset({"body", "obj"})
#: Levels of headings: the title of a cover is higher than the titles of the slides.
COVER_LEVEL, TITLE_LEVEL = 1, 2
NO_PLACEHOLDER = "-"
#: Elements that only group shapes.
GROUPS = frozenset({"p:grpSp", "p:spTree", "p:cSld", "p:contentPart"})


@dataclass(kw_only=True, slots=True)
class SlideWriter:
    """Writes one slide.

    Args:
        page: the page of the slide.
        package: the presentation.
        relationships: the relationships of the slide.
        footers: the footers that are written already.
    """

    page: PageBuilder
    package: Package
    relationships: Mapping[str, Relationship]
    footers: set[str]

    def write(self, slide: Element) -> None:
        """Write the shapes of a slide, the title first."""
        shapes = list(_shapes(slide))
        shapes.sort(key=lambda shape: _placeholder(shape) not in TITLES)  # the other shapes keep their order
        for shape in shapes:
            self._write_shape(shape)

    def write_notes(self, notes: Element) -> None:
        """Write the notes of the speaker, without the picture, number and date on the page of notes."""
        for shape in _shapes(notes):
            if _placeholder(shape) in BODIES:
                self.page.paragraph("\n".join(lines_of(shape, bulleted=False)))

    def _write_shape(self, shape: Element) -> None:
        if shape.tag == "p:graphicFrame":
            self._write_frame(shape)
            return
        if shape.tag == "p:pic":
            self.page.paragraph(_description(shape))
            return
        kind = _placeholder(shape)
        if kind in TITLES:
            level = COVER_LEVEL if kind == COVER_TITLE else TITLE_LEVEL
            self.page.heading(" ".join(lines_of(shape, bulleted=False)), level=level)
        elif kind == FOOTER:
            text = "\n".join(lines_of(shape, bulleted=False))
            if text not in self.footers:
                self.footers.add(text)
                self.page.paragraph(text)
        elif kind not in COUNTERS:
            self.page.paragraph("\n".join(lines_of(shape, bulleted=kind in BODIES)))

    def _write_frame(self, frame: Element) -> None:
        for table in frame.iter("a:tbl"):
            properties = table.find("a:tblPr")
            has_header = properties is not None and properties.get("firstRow", "0") not in OFF
            self.page.table([_cells(row) for row in table.findall("a:tr")], header=has_header)
        for chart in frame.iter("c:chart"):
            self.page.paragraph(self._drawing(chart.get("r:id", "")))
        for diagram in frame.iter("dgm:relIds"):
            self.page.paragraph(self._drawing(diagram.get("r:dm", "")))
        if first(frame, "p:oleObj") is not None:
            self.page.paragraph(_description(frame))

    def _drawing(self, relationship: str) -> str:
        return text_of_drawing(self.package, self.relationships, relationship)


def _shapes(parent: Element) -> Iterator[Element]:
    """Yield the shapes under an element, also the shapes in groups, in document order."""
    for child in parent:
        if child.tag in GROUPS:
            yield from _shapes(child)
        elif child.tag == "mc:AlternateContent":
            yield from _shapes(preferred(child))
        elif child.tag in {"p:sp", "p:cxnSp", "p:pic", "p:graphicFrame"}:
            yield child


def _placeholder(shape: Element) -> str:
    """Return the type of the placeholder that the shape fills; ``NO_PLACEHOLDER`` for a free shape."""
    found = first(shape, "p:ph")
    return NO_PLACEHOLDER if found is None else found.get("type", "obj")


def _description(shape: Element) -> str:
    """Return the description that the author gave a picture."""
    found = first(shape, "p:cNvPr")
    return "" if found is None else found.get("descr", "")


def _cells(row: Element) -> list[str]:
    """Return the cells of a row. A cell that continues another cell is empty."""
    continued: Iterable[str] = ("hMerge", "vMerge")
    return [
        "" if any(cell.get(name, "0") not in OFF for name in continued) else flat_text(cell)
        for cell in row.findall("a:tc")
    ]
