"""Parse an OpenDocument presentation (.odp) into one page for each slide. Macros are never read."""

from xml.etree.ElementTree import Element

from cluster.page_structure import PageStructure
from cluster.records import Fact
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.office.open_document.document import OpenDocument
from data_jobs.stages.formats.office.open_document.story import OdfStory
from data_jobs.stages.formats.office.refusals import refuse_pictures_only, refuse_too_many
from data_jobs.stages.formats.page_builder import PageBuilder

#: Classes of placeholders: the title of a slide, and the texts that repeat on each slide.
TITLE, REPEATED = "title", frozenset({"page-number", "date-time", "header"})
TITLE_LEVEL = 2


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a presentation. A hidden slide gives a page without text, so the other slides keep their
    numbers.

    Raises:
        Unreadable: the document is damaged, encrypted or over a limit, or has pictures and no text.
    """
    document = OpenDocument(data)
    slides = document.body("office:presentation").findall("draw:page")
    refuse_too_many(len(slides), "slides", options)
    pages: list[str] = []
    structure: list[PageStructure] = []
    hidden = characters = 0
    for slide in slides:
        page = PageBuilder()
        story = OdfStory(page=page, document=document)
        style = slide.get("draw:style-name", "")
        if document.styles.has("drawing-page", style, "presentation:visibility", "hidden"):
            hidden += 1
        else:
            _write(page, story, slide)
        characters += story.hidden
        pages.append(page.text())
        structure.append(page.structure())
    refuse_pictures_only(pages, document.package.names)
    facts: dict[Fact, str | float | bool] = {}
    if hidden:
        facts[Fact.HIDDEN_PAGES] = hidden
    if characters:
        facts[Fact.HIDDEN_CHARACTERS] = characters
    return ParserOutput(pages=pages, structure=structure, facts=facts)


def _write(page: PageBuilder, story: OdfStory, slide: Element) -> None:
    """Write a slide: the title first, then the other shapes, then the notes."""
    shapes = [shape for shape in slide if shape.tag.startswith("draw:")]
    # The other shapes keep their order.
    shapes.sort(key=lambda shape: shape.get("presentation:class") != TITLE)
    for shape in shapes:
        kind = shape.get("presentation:class", "")
        if kind == TITLE:
            page.heading(story.flat(shape), level=TITLE_LEVEL)
        elif kind not in REPEATED:
            story.write_one(shape)
    for notes in slide.findall("presentation:notes"):
        for shape in notes:
            if shape.get("presentation:class") == "notes":
                story.write_one(shape)
