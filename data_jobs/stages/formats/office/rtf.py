"""Parse Rich Text Format (.rtf) into one page. Embedded objects are never read."""

from cluster.records import NO_PAGE, Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.office.rich_text.reader import Reader
from data_jobs.stages.formats.office.rich_text.writer import Writer
from data_jobs.stages.formats.page_builder import PageBuilder

PICTURE = b"\\pict"


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse Rich Text Format. Headers and footers are written once, at the end.

    Raises:
        Unreadable: the file has no text, and has pictures or is cut short.
    """
    page = PageBuilder()
    writer = Writer(page=page)
    reader = Reader(writer=writer)
    reader.read(data)
    for edge in writer.edges:
        page.paragraph(edge)
    if not page.text() and PICTURE in data:
        raise Unreadable(
            Outcome.NEEDS_OCR, "holds pictures and no text: its text would need optical character recognition"
        )
    if not page.text() and not reader.is_whole:
        raise Unreadable(Outcome.CORRUPT, "is damaged or cut short: its end is missing")
    return ParserOutput(
        pages=[page.text()],
        structure=[page.structure()],
        facts={Fact.HIDDEN_CHARACTERS: reader.hidden} if reader.hidden else {},
        unread={} if reader.is_whole else {NO_PAGE: "is cut short: its end is missing"},
    )
