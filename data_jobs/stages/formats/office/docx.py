"""Parse a Word document (.docx, .docm) into one page. Macros are never read.

A Word document has no fixed pages, because each program that shows the document divides it into pages itself.
The structure of the one page names headings and tables instead.
"""

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from cluster.records import NO_PAGE, Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.office.drawing import text_of_drawing
from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.refusals import refuse_pictures_only
from data_jobs.stages.formats.office.relationships import (
    Relationship,
    main_part,
    parts_of,
    relationships_of,
)
from data_jobs.stages.formats.office.word.numbering import Numbering
from data_jobs.stages.formats.office.word.story import WordStory
from data_jobs.stages.formats.office.word.styles import WordStyles
from data_jobs.stages.formats.office.xml_tree import read_tree
from data_jobs.stages.formats.page_builder import PageBuilder

#: Kinds of parts with notes, and the element of each note.
NOTES = {"footnotes": "w:footnote", "endnotes": "w:endnote"}


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a Word document into one page.

    Raises:
        Unreadable: the document is damaged, encrypted or over a limit, or has pictures and no text.
    """
    package = Package(data)
    main = main_part(package)
    parts = relationships_of(package, main)
    body = read_tree(package.read(main)).find("w:body")
    if body is None:
        raise Unreadable(Outcome.CORRUPT, "is damaged: its main part is not the body of a document")
    page = PageBuilder()
    story = WordStory(
        page=page,
        styles=WordStyles(_optional(package, parts, "styles")),
        numbering=Numbering(_optional(package, parts, "numbering")),
        notes=dict(_notes(package, parts)),
        drawing=lambda relationship: text_of_drawing(package, parts, relationship),
    )
    for text in _distinct(story, package, parts, "header"):
        page.paragraph(text)
    story.write(body)
    story.end()
    for text in _distinct(story, package, parts, "footer"):
        page.paragraph(text)
    refuse_pictures_only([page.text()], package.names)
    unread = {}
    if story.imported:
        unread[NO_PAGE] = (
            f"imports {story.imported:,} other documents, which were not read: open it in Word and save it"
        )
    return ParserOutput(
        pages=[page.text()],
        structure=[page.structure()],
        facts={Fact.HIDDEN_CHARACTERS: story.hidden} if story.hidden else {},
        unread=unread,
    )


def _optional(package: Package, parts: Mapping[str, Relationship], kind: str) -> Element | None:
    """Return the root of the part of this kind; None if the part is missing or cannot be unpacked."""
    part = next(parts_of(parts, kind), "")
    data = package.read_if_whole(part)
    return read_tree(data) if data else None


def _notes(package: Package, parts: Mapping[str, Relationship]) -> Iterator[tuple[tuple[str, str], Element]]:
    """Yield each footnote and endnote by the kind of its part and its id, without separator lines."""
    for kind, tag in NOTES.items():
        root = _optional(package, parts, kind)
        for note in () if root is None else root.findall(tag):
            if note.get("w:type", "normal") == "normal":
                yield (kind, note.get("w:id", "")), note


def _distinct(
    story: WordStory, package: Package, parts: Mapping[str, Relationship], kind: str
) -> Iterator[str]:
    """Yield each header or footer of the pages once, although every page shows it."""
    seen: set[str] = set()
    for part in parts_of(parts, kind):
        data = package.read_if_whole(part)
        text = story.flat(read_tree(data)) if data else ""
        if text not in seen:
            seen.add(text)
            yield text
