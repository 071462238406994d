"""Define the table of file formats: how to recognise each format, which purposes accept it, which parser
reads it.

    recognise(b"%PDF-1.7 ...", name="anything.txt").media_type     # "application/pdf"
    format_of("text/markdown").parser                              # "data_jobs.stages.formats.markdown"

To add a format that can be ingested, write its parser (``data_jobs/stages/formats/contract.py`` has the
contract) and add a row here and a line to the handbook's table (``docs/how-a-document-travels.md``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from cluster.file_beginning import FileBeginning

#: The purposes for which a file can be uploaded, as OpenAI names them.
Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
#: Purposes whose files are documents, which can be attached to a vector store.
DOCUMENT_PURPOSES: tuple[Purpose, ...] = ("assistants", "user_data")
JSON_LINES_PURPOSES: tuple[Purpose, ...] = ("batch", "fine-tune", "evals")

#: Media type of a file of vectors.
PARQUET = "application/vnd.apache.parquet"
#: White space and a byte order mark, which may precede the first line of JSON.
BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One file format."""

    #: The name that error messages and the handbook use.
    name: str
    media_type: str
    #: Returns True for the beginning of a file of this format. Formats are tried in the order of ``FORMATS``,
    #: and the first match wins.
    recognises: Callable[[FileBeginning], bool]
    #: File name suffixes by which this format is recognised among texts; empty if the bytes alone decide.
    suffixes: frozenset[str] = frozenset()
    #: Purposes for which such a file can be uploaded.
    purposes: tuple[Purpose, ...] = ()
    #: True if the format is recognised only in files for its purposes; in files for other purposes, the same
    #: bytes are plain text.
    only_for_its_purposes: bool = False
    #: Module of the parser; None if documents of this format cannot be read. This is a name, not an import,
    #: because only the parsing process loads parser libraries.
    parser: str | None = None
    #: Packages whose version affects the parsed text. If several formats use a package, only one row names
    #: it, because the pipeline version lists these packages in the order of the table.
    libraries: tuple[str, ...] = ()
    #: Version of the parser. Raise the version if a change of the parser gives other pages for the same
    #: bytes.
    parser_version: int = 1
    #: What counts as one page of such a document, in the words of the handbook.
    page: str = ""
    #: True if the parser can read a range of pages alone; documents of other formats are always read as a
    #: whole.
    parsed_in_parts: bool = False


def recognise(data: bytes, *, name: str, purpose: str | None = None) -> Format:
    """Recognise the format of a file.

    Args:
        data: the file, or its first ``file_beginning.SNIFFED_BYTES`` bytes.
        name: name of the file, which decides only between kinds of text.
        purpose: the purpose for which the file is uploaded; None for a document.
    """
    beginning = FileBeginning.of(data, name=name)
    candidates = (row for row in FORMATS if not row.only_for_its_purposes or purpose in row.purposes)
    return next(row for row in candidates if row.recognises(beginning))


def format_of(media_type: str) -> Format:
    """Return the format with this media type; ``UNKNOWN`` if the table has no such format."""
    return next((row for row in FORMATS if row.media_type == media_type), UNKNOWN)


def starts_with(*marks: bytes) -> Callable[[FileBeginning], bool]:
    """Make a function that recognises a format by its first bytes."""
    return lambda beginning: beginning.start.startswith(marks)


def matches(pattern: bytes) -> Callable[[FileBeginning], bool]:
    """Make a function that recognises a format by a pattern.

    Some marks consist of letters, so a text may begin with such a mark by chance. The pattern of such a mark
    also checks the bytes after the mark.
    """
    compiled = re.compile(pattern, re.DOTALL)
    return lambda beginning: compiled.match(beginning.start) is not None


HTML_SUFFIXES = frozenset({"html", "htm", "xhtml", "xht", "shtml"})
MARKDOWN_SUFFIXES = frozenset({"md", "markdown"})

UNKNOWN = Format(name="unknown", media_type="application/octet-stream", recognises=lambda _: True)

#: All formats, in the order in which ``recognise`` tries them.
FORMATS = (
    Format(
        name="PDF",
        media_type="application/pdf",
        recognises=lambda beginning: beginning.is_pdf,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.pdf",
        libraries=("pymupdf",),
        page="a page",
        parsed_in_parts=True,
    ),
    Format(name="ZIP", media_type="application/zip", recognises=starts_with(b"PK\x03\x04")),
    Format(name="OLE", media_type="application/x-ole-storage", recognises=starts_with(b"\xd0\xcf\x11\xe0")),
    Format(
        name="PNG",
        media_type="image/png",
        recognises=starts_with(b"\x89PNG\r\n\x1a\n"),
        purposes=("vision",),
    ),
    Format(
        name="JPEG", media_type="image/jpeg", recognises=starts_with(b"\xff\xd8\xff"), purposes=("vision",)
    ),
    # Parquet holds vectors for the job ``bulk_insert_vectors``. It is not a format of documents.
    Format(
        name="Parquet",
        media_type=PARQUET,
        recognises=starts_with(b"PAR1"),
        purposes=("user_data",),
    ),
    Format(name="gzip", media_type="application/gzip", recognises=starts_with(b"\x1f\x8b")),
    Format(name="ELF", media_type="application/x-executable", recognises=starts_with(b"\x7fELF")),
    Format(name="ar", media_type="application/x-archive", recognises=starts_with(b"!<arch>\n")),
    Format(
        name="GIF",
        media_type="image/gif",
        recognises=matches(rb"GIF8[79]a(?:$|.{0,6}[\x00-\x08\x0e-\x1f\x80-\xff])"),
        purposes=("vision",),
    ),
    Format(
        name="WebP",
        media_type="image/webp",
        recognises=matches(rb"RIFF.{4}WEBPVP8[ LX]"),
        purposes=("vision",),
    ),
    Format(
        name="RIFF",
        media_type=UNKNOWN.media_type,
        recognises=matches(rb"RIFF(?=.{0,3}[\x00-\x1f\x80-\xff]).{4}[A-Z]{3}[A-Z ]"),
    ),
    Format(name="RTF", media_type="application/rtf", recognises=matches(rb"\{\\rtf\d*\s*[\\{]")),
    Format(name="tar", media_type="application/x-tar", recognises=matches(rb".{257}ustar[\x00 ]")),
    Format(name="binary", media_type=UNKNOWN.media_type, recognises=lambda beginning: beginning.text is None),
    # All formats below are text.
    Format(
        name="HTML",
        media_type="text/html",
        recognises=lambda beginning: beginning.is_html or beginning.suffix in HTML_SUFFIXES,
        suffixes=HTML_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.html",
        libraries=("selectolax",),
        page="the whole document",
    ),
    Format(
        name="Markdown",
        media_type="text/markdown",
        recognises=lambda beginning: beginning.suffix in MARKDOWN_SUFFIXES,
        suffixes=MARKDOWN_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.markdown",
        libraries=("markdown-it-py",),
        page="the whole document",
    ),
    Format(
        name="JSON lines",
        media_type="application/jsonl",
        recognises=lambda beginning: beginning.start.lstrip(BEFORE_JSON).startswith(b"{"),
        purposes=JSON_LINES_PURPOSES,
        only_for_its_purposes=True,
    ),
    Format(
        name="plain text",
        media_type="text/plain",
        recognises=lambda beginning: beginning.text is not None,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.text",
        libraries=("chardet",),
        page="the text between two form feeds",
    ),
    UNKNOWN,
)
#: The formats whose documents can be ingested.
READABLE = tuple(row for row in FORMATS if row.parser is not None)
