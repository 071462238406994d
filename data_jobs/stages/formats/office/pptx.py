"""Parse a PowerPoint presentation (.pptx, .pptm, .ppsx) into one page for each slide. Macros are never read.

The page of a slide has the title, then the text boxes and tables in the order of the file, which screen
readers follow, too, and then the notes of the speaker.
"""

from xml.etree.ElementTree import Element

from cluster.page_structure import PageStructure
from cluster.records import Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.powerpoint.slide import SlideWriter
from data_jobs.stages.formats.office.refusals import refuse_pictures_only, refuse_too_many
from data_jobs.stages.formats.office.relationships import main_part, parts_of, relationships_of
from data_jobs.stages.formats.office.word.styles import OFF
from data_jobs.stages.formats.office.xml_tree import children, read_tree
from data_jobs.stages.formats.page_builder import PageBuilder


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a presentation. A hidden slide gives a page without text, so the other slides keep their
    numbers.

    Raises:
        Unreadable: the document is damaged, encrypted or over a limit, or has pictures and no text.
    """
    package = Package(data)
    main = main_part(package)
    parts = relationships_of(package, main)
    root = read_tree(package.read(main))
    if root.tag != "p:presentation":
        raise Unreadable(Outcome.CORRUPT, "is damaged: its main part is not a presentation")
    slides = [
        parts[relationship].part if (relationship := slide.get("r:id", "")) in parts else ""
        for slide in children(root, "p:sldIdLst", "p:sldId")
    ]
    refuse_too_many(len(slides), "slides", options)
    pages: list[str] = []
    structure: list[PageStructure] = []
    unread: dict[int, str] = {}
    hidden = 0
    footers: set[str] = set()
    for number, part in enumerate(slides, start=1):
        page = PageBuilder()
        try:
            slide = read_tree(package.read(part))
        except Unreadable as exc:
            if exc.outcome is Outcome.TOO_LARGE:
                raise
            unread[number] = "is damaged"
        else:
            if slide.get("show", "1") in OFF:
                hidden += 1
            else:
                _write(page, package, part, slide, footers)
        pages.append(page.text())
        structure.append(page.structure())
    refuse_pictures_only(pages, package.names)
    return ParserOutput(
        pages=pages,
        structure=structure,
        facts={Fact.HIDDEN_PAGES: hidden} if hidden else {},
        unread=unread,
    )


def _write(page: PageBuilder, package: Package, part: str, slide: Element, footers: set[str]) -> None:
    """Write a slide and its notes.

    Args:
        page: the page of the slide.
        package: the presentation.
        part: name of the part of the slide.
        slide: the root of this part.
        footers: the footers of earlier slides; each footer is written once for the whole presentation.
    """
    related = relationships_of(package, part)
    SlideWriter(page=page, package=package, relationships=related, footers=footers).write(slide)
    for notes in parts_of(related, "notesSlide"):
        data = package.read_if_whole(notes)
        if data:
            writer = SlideWriter(page=page, package=package, relationships={}, footers=footers)
            writer.write_notes(read_tree(data))
