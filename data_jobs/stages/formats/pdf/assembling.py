"""Make the output of a PDF parser from the pages that it has read. Both PDF parsers call ``assembled``."""

from collections.abc import Callable, Mapping, Sequence

from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.line_ends import joined_paragraphs, page_text
from data_jobs.stages.formats.pdf.faults import no_text
from data_jobs.stages.formats.pdf.headings import OutlineEntry, ReadPage, structures


def assembled(
    pages: Sequence[ReadPage],
    options: ParseOptions,
    *,
    count: int,
    unread: Mapping[int, str],
    shows_something: Callable[[], bool],
    outline: Callable[[], Sequence[OutlineEntry]],
    labels: Callable[[], Sequence[str]],
) -> ParserOutput:
    """Return the texts of the pages with joined lines, and the structure of the pages.

    Args:
        pages: the pages of the part that ``options`` name.
        options: see ``ParseOptions``.
        count: number of pages of the document.
        unread: the reasons why the pages do not show all content; see ``ParserOutput.unread``.
        shows_something: returns True if a page of the document shows anything. It is called if no page has
            text.
        outline: returns the outline of the document.
        labels: returns the label of each of ``pages``; empty if the pages have no labels.

    Raises:
        Unreadable: the whole document was read and has no text.
    """
    first = options.part[0] if options.part else 0
    reasons = {number: page.reason for number, page in enumerate(pages, start=first + 1) if page.reason}
    unread = {**unread, **reasons}
    joined = joined_paragraphs([page.paragraphs for page in pages])
    texts = [page_text(paragraphs) for paragraphs in joined]
    if options.part is None and not any(texts):
        raise no_text(unread, shows_something=shows_something)
    structure = structures(pages, joined, first=first, outline=outline(), labels=labels())
    return ParserOutput(pages=texts, page_count=count, unread=unread, structure=structure)
