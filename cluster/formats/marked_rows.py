"""Define the rows of the table of formats for source code, and for texts whose headings are marked."""

from cluster.formats.format import DOCUMENT_PURPOSES, Format, named
from cluster.formats.languages import LANGUAGE_BY_SUFFIX

CODE_SUFFIXES = frozenset(LANGUAGE_BY_SUFFIX)
LATEX_SUFFIXES = frozenset({"tex", "latex", "ltx", "sty", "cls"})
ASCIIDOC_SUFFIXES = frozenset({"adoc", "asciidoc", "asc"})
ORG_SUFFIXES = frozenset({"org"})
RST_SUFFIXES = frozenset({"rst", "rest"})

MARKED = (
    Format(
        name="reStructuredText",
        media_type="text/x-rst",
        recognises=named(RST_SUFFIXES),
        suffixes=RST_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.texts.restructured",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
    Format(
        name="LaTeX",
        media_type="text/x-tex",
        recognises=named(LATEX_SUFFIXES),
        suffixes=LATEX_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.texts.headed_text",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
    Format(
        name="AsciiDoc",
        media_type="text/asciidoc",
        recognises=named(ASCIIDOC_SUFFIXES),
        suffixes=ASCIIDOC_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.texts.headed_text",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
    Format(
        name="Org",
        media_type="text/org",
        recognises=named(ORG_SUFFIXES),
        suffixes=ORG_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.texts.headed_text",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
    Format(
        name="source code",
        media_type="text/x-source-code",
        recognises=named(CODE_SUFFIXES),
        suffixes=CODE_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.texts.source_code",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
)
