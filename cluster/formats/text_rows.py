"""Define the rows of the table of formats for texts. The last row recognises every text that no other row
recognises.
"""

from cluster.formats.format import DOCUMENT_PURPOSES, Format, named
from cluster.formats.mail_rows import MAILS
from cluster.formats.marked_rows import MARKED
from cluster.formats.record_rows import RECORDS

HTML_SUFFIXES = frozenset({"html", "htm", "xhtml", "xht", "shtml"})
MARKDOWN_SUFFIXES = frozenset({"md", "markdown"})

TEXTS = (
    *MAILS,
    Format(
        name="HTML",
        media_type="text/html",
        recognises=lambda beginning: beginning.is_html or beginning.suffix in HTML_SUFFIXES,
        suffixes=HTML_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.html",
        libraries=("selectolax",),
        licence="MIT",
        parser_version=2,
        page="the whole document",
    ),
    Format(
        name="Markdown",
        media_type="text/markdown",
        recognises=named(MARKDOWN_SUFFIXES),
        suffixes=MARKDOWN_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.markdown",
        libraries=("markdown-it-py",),
        licence="MIT",
        parser_version=2,
        page="the whole document",
    ),
    *RECORDS,
    *MARKED,
    Format(
        name="plain text",
        media_type="text/plain",
        recognises=lambda beginning: beginning.text is not None,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.text",
        libraries=("chardet",),
        licence="0BSD",
        page="the text between two form feeds",
    ),
)
