"""Parse a workbook of Excel (.xlsx, .xlsm) into one page for each sheet. Macros are never read.

The page of a sheet is named after the sheet, and the structure gives the cells of each table. Formulas are
not computed, because the file holds the results that Excel computed last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from cluster.page_structure import PageStructure
from cluster.records import NO_PAGE, Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.office.drawing import text_of_drawing
from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.refusals import refuse_pictures_only, refuse_too_many
from data_jobs.stages.formats.office.relationships import (
    Relationship,
    main_part,
    parts_of,
    relationships_of,
)
from data_jobs.stages.formats.office.sheets.grid import Grid
from data_jobs.stages.formats.office.sheets.sheet import SheetReader
from data_jobs.stages.formats.office.sheets.workbook import SharedStrings, cell_formats
from data_jobs.stages.formats.office.word.styles import OFF
from data_jobs.stages.formats.office.xml_stream import read_stream
from data_jobs.stages.formats.office.xml_tree import children, read_tree, texts
from data_jobs.stages.formats.page_builder import PageBuilder

#: Maximum length of the name of a page. In Excel, the name of a sheet has at most 31 characters.
MAX_NAME = 128


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a workbook. A hidden sheet gives a page without text, so the other sheets keep their numbers.

    Raises:
        Unreadable: the document is damaged, encrypted or over a limit, or has pictures and no text.
    """
    package = Package(data)
    main = main_part(package)
    parts = relationships_of(package, main)
    root = read_tree(package.read(main))
    if root.tag != "x:workbook":
        raise Unreadable(Outcome.CORRUPT, "is damaged: its main part is not a workbook")
    sheets = list(children(root, "x:sheets", "x:sheet"))
    refuse_too_many(len(sheets), "sheets", options)
    workbook = _Workbook(package=package, parts=parts, from_1904=_counts_from_1904(root))
    pages: list[str] = []
    structure: list[PageStructure] = []
    unread: dict[int, str] = {}
    hidden = 0
    for number, sheet in enumerate(sheets, start=1):
        page = PageBuilder(label=sheet.get("name", "")[:MAX_NAME])
        target = parts.get(sheet.get("r:id", ""))
        if sheet.get("state", "visible") != "visible":
            hidden += 1
        elif target is None or not workbook.write(page, target):
            unread[number] = "is damaged"
        pages.append(page.text())
        structure.append(page.structure())
    refuse_pictures_only(pages, package.names)
    if workbook.without_result:
        unread[NO_PAGE] = (
            f"has {workbook.without_result:,} formulas without a stored result, which were left out: open it "
            "in a spreadsheet program and save it"
        )
    return ParserOutput(
        pages=pages,
        structure=structure,
        facts={Fact.HIDDEN_PAGES: hidden} if hidden else {},
        unread=unread,
    )


def _counts_from_1904(root: Element) -> bool:
    properties = root.find("x:workbookPr")
    return properties is not None and properties.get("date1904", "0") not in OFF


@dataclass(kw_only=True, slots=True)
class _Workbook:
    """Holds what the sheets of one workbook share, and writes sheets into pages."""

    package: Package
    parts: Mapping[str, Relationship]
    from_1904: bool
    #: Number of formulas without a stored result in the sheets so far.
    without_result: int = 0
    _strings: Sequence[str] = field(init=False)
    _formats: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        strings = SharedStrings()
        if data := self._optional("sharedStrings"):
            read_stream(data, strings)
        self._strings = strings.texts
        data = self._optional("styles")
        self._formats = cell_formats(read_tree(data) if data else None)

    def write(self, page: PageBuilder, target: Relationship) -> bool:
        """Write a sheet into its page. Return False if the sheet is damaged."""
        grid = Grid()
        if target.kind == "worksheet":
            reader = SheetReader(
                grid=grid, strings=self._strings, formats=self._formats, from_1904=self.from_1904
            )
            try:
                read_stream(self.package.read(target.part), reader)
            except Unreadable as exc:
                if exc.outcome is not Outcome.CORRUPT:
                    raise
                return False
            self.without_result += reader.without_result
        grid.write(page)
        for part in parts_of(relationships_of(self.package, target.part), "drawing"):
            self._write_drawings(page, part)
        return True

    def _write_drawings(self, page: PageBuilder, part: str) -> None:
        """Write the text boxes and the charts of a sheet."""
        data = self.package.read_if_whole(part)
        if not data:
            return
        root, related = read_tree(data), relationships_of(self.package, part)
        for paragraph in root.iter("a:p"):
            page.paragraph("".join(texts(paragraph, "a:t")))
        for chart in root.iter("c:chart"):
            page.paragraph(text_of_drawing(self.package, related, chart.get("r:id", "")))

    def _optional(self, kind: str) -> bytes:
        return self.package.read_if_whole(next(parts_of(self.parts, kind), ""))
