"""Define the columns of the table of formats, and functions with which a row recognises its format.

    Format(name="ar", media_type="application/x-archive", recognises=starts_with(b"!<arch>\\n"))

The modules with rows, such as ``text_rows.py``, use the names of this module. Other packages import most of
these names from ``cluster.formats``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from cluster.file_beginning import FileBeginning

#: The purposes for which a file can be uploaded, as OpenAI names them.
Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
#: Purposes whose files are documents, which can be attached to a vector store.
DOCUMENT_PURPOSES: tuple[Purpose, ...] = ("assistants", "user_data")
JSON_LINES_PURPOSES: tuple[Purpose, ...] = ("batch", "fine-tune", "evals")

#: The libraries that can read PDF, as ``CLUSTER_PDF_PARSER`` names them. PyMuPDF is under the AGPL or a
#: commercial licence; PDFium is under BSD and Apache licences.
PdfParser = Literal["pymupdf", "pdfium"]
PDF_PARSERS: tuple[PdfParser, ...] = get_args(PdfParser)


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherParser:
    """A parser that an operator can choose in place of the parser of a format."""

    #: Module of the parser, as ``Format.parser``.
    parser: str
    #: See ``Format.libraries``.
    libraries: tuple[str, ...]
    #: See ``Format.licence``.
    licence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One file format."""

    #: The name that error messages and the handbook use.
    name: str
    media_type: str
    #: Returns True for the beginning of a file of this format. Formats are tried in the order of ``FORMATS``,
    #: and a file has the first format whose function returns True.
    recognises: Callable[[FileBeginning], bool]
    #: File name suffixes by which this format is recognised among texts; empty if the bytes alone decide.
    suffixes: frozenset[str] = frozenset()
    #: Purposes for which a file of this format can be uploaded.
    purposes: tuple[Purpose, ...] = ()
    #: True if the format is recognised only in files for its purposes. A file for another purpose with the
    #: same bytes has another format.
    only_for_its_purposes: bool = False
    #: Module of the parser; None if documents of this format cannot be read. This is a name, not an import,
    #: because only the parsing process loads parser libraries.
    parser: str | None = None
    #: Module whose function ``parse`` never returns text, but says why a file of this format cannot be read,
    #: and what to do. None if the format has no such module.
    refuser: str | None = None
    #: Other parsers of this format, by the value of the setting that chooses the parser.
    other_parsers: Mapping[str, OtherParser] = field(default_factory=dict)
    #: Module that reads the entries of a file of this format, for example of an archive
    #: (``data_jobs/stages/containers/contract.py`` has the contract); None if no entries are read.
    entries: str | None = None
    #: Packages that the parser uses, and whose version affects the parsed text.
    libraries: tuple[str, ...] = ()
    #: Licences of these packages; "" for a parser that uses no package.
    licence: str = ""
    #: Version of the parser. Raise the version if a change of the parser gives other pages for the same
    #: bytes.
    parser_version: int = 1
    #: The part of a document of this format that counts as one page, in the words of the handbook.
    page: str = ""
    #: True if the parser can read a range of pages without the other pages. If False, a document is always
    #: read as a whole.
    parsed_in_parts: bool = False
    #: True if optical character recognition can read pages without text. The parser of such a format can read
    #: a range of pages, and can recognise one page (``ParseOptions.ocr``).
    recognisable: bool = False


UNKNOWN = Format(name="unknown", media_type="application/octet-stream", recognises=lambda _: True)


def starts_with(*marks: bytes) -> Callable[[FileBeginning], bool]:
    """Make a function that recognises a format by its first bytes.

    Args:
        marks: the possible first bytes.
    """
    return lambda beginning: beginning.start.startswith(marks)


def named(suffixes: frozenset[str]) -> Callable[[FileBeginning], bool]:
    """Make a function that recognises a kind of text by the suffix of the file's name."""
    return lambda beginning: beginning.suffix in suffixes


def matches(pattern: bytes) -> Callable[[FileBeginning], bool]:
    """Make a function that recognises a format by a pattern that the beginning of the file matches.

    Some formats begin with a mark of letters, and a text can begin with the same letters by chance. The
    pattern of such a format also checks the bytes after the mark.
    """
    compiled = re.compile(pattern, re.DOTALL)
    return lambda beginning: compiled.match(beginning.start) is not None


def holds(*types: str) -> Callable[[FileBeginning], bool]:
    """Make a function that recognises a format whose files are ZIP files, by the media types that
    ``cluster.zip_marks`` finds.
    """
    return lambda beginning: beginning.zip_type in types
