"""Writes a Markdown page as a PDF with PyMuPDF. ``handbook.build`` calls this module if PyMuPDF is installed.

write_pdf(Path("docs/security.md"), Path("/tmp/security.pdf"))
"""

from pathlib import Path

import pymupdf
from markdown_it import MarkdownIt

from cluster.errors import InvalidInput

#: Maximum number of PDF pages for one page of the handbook. Content that does not fit any PDF page would
#: otherwise be moved to the next page without end.
MAX_PAGES = 100
PAPER, MARGIN_PT = "a5", 36
CSS = """
body { font-family: serif; font-size: 10pt; }
h1 { font-size: 17pt; } h2 { font-size: 13pt; }
code, pre { font-family: monospace; font-size: 8.5pt; }
pre { white-space: pre-wrap; }
"""


def write_pdf(page: Path, target: Path) -> None:
    """Write a Markdown page as a PDF. ``target`` appears only after the PDF is complete.

    Raises:
        InvalidInput: the PDF would have more than ``MAX_PAGES`` pages.
    """
    story = pymupdf.Story(_html(page.read_text(encoding="utf-8")), user_css=CSS)
    paper = pymupdf.paper_rect(PAPER)
    inside = pymupdf.Rect(MARGIN_PT, MARGIN_PT, paper.width - MARGIN_PT, paper.height - MARGIN_PT)
    draft = target.with_suffix(".draft")
    writer = pymupdf.DocumentWriter(str(draft), "compress")
    more, pages = True, 0
    while more:
        pages += 1
        if pages > MAX_PAGES:
            raise InvalidInput(
                f"{page} holds something that is longer than a PDF page and cannot be broken: divide it"
            )
        device = writer.begin_page(paper)
        more, _ = story.place(inside)
        story.draw(device)
        writer.end_page()
    writer.close()
    draft.rename(target)


def _html(markdown: str) -> str:
    """Return the page as HTML, with a paragraph in place of each row of a table.

    Otherwise PyMuPDF 1.28 would lose table rows that do not fit a page, and the text after these rows.
    """
    parser = MarkdownIt().enable("table")
    tokens = parser.parse(markdown)
    for token, after in zip(tokens, [*(token.type for token in tokens[1:]), ""], strict=True):
        if token.type in ("tr_open", "tr_close"):
            token.tag = "p"
        elif token.type in ("th_close", "td_close") and after != "tr_close":
            token.type, token.content = "html_block", ": "
        elif token.type.startswith(("table_", "thead_", "tbody_", "th_", "td_")):
            token.hidden = True
    return str(parser.renderer.render(tokens, parser.options, {}))
