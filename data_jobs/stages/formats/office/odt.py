"""Parse an OpenDocument text (.odt) into one page. Macros are never read."""

from collections.abc import Iterator

from cluster.records import Fact
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.office.open_document.document import OpenDocument
from data_jobs.stages.formats.office.open_document.story import OdfStory
from data_jobs.stages.formats.office.refusals import refuse_pictures_only
from data_jobs.stages.formats.page_builder import PageBuilder

#: Elements of headers and footers of page styles.
HEADERS = ("style:header", "style:header-first", "style:header-left")
FOOTERS = ("style:footer", "style:footer-first", "style:footer-left")


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse an OpenDocument text into one page.

    Raises:
        Unreadable: the document is damaged, encrypted or over a limit, or has pictures and no text.
    """
    document = OpenDocument(data)
    body = document.body("office:text")
    page = PageBuilder()
    story = OdfStory(page=page, document=document)
    for text in _distinct(story, document, HEADERS):
        page.paragraph(text)
    story.write(body)
    story.end()
    for text in _distinct(story, document, FOOTERS):
        page.paragraph(text)
    refuse_pictures_only([page.text()], document.package.names)
    return ParserOutput(
        pages=[page.text()],
        structure=[page.structure()],
        facts={Fact.HIDDEN_CHARACTERS: story.hidden} if story.hidden else {},
    )


def _distinct(story: OdfStory, document: OpenDocument, tags: tuple[str, ...]) -> Iterator[str]:
    """Yield each header or footer of the pages once, although every page shows it."""
    seen: set[str] = set()
    for element in () if document.style_part is None else document.style_part.iter():
        if element.tag in tags and (text := story.flat(element)) not in seen:
            seen.add(text)
            yield text
