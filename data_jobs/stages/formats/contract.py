"""The contract between the parsing process and the parser of a format.

A parser is a module with one function, ``parse(data: bytes, options: ParseOptions) -> ParserOutput``. The
parser runs in a child process with limits on memory and time. The child process reads one document and ends.
The parser raises ``Unreadable`` if no text can be read from the document, and ``MemoryError`` if the parser
needs more memory than the limit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.page_structure import PageStructure
from cluster.records import Fact, Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class OcrRequest:
    """Asks a parser to recognise the text of a page in a picture of the page."""

    #: Absolute path of the program Tesseract.
    program: str
    #: Languages in the form of Tesseract's option ``-l``, such as ``deu+eng``.
    languages: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ParseOptions:
    """The limits and options of one parse."""

    #: Maximum number of pages; a document with more pages is refused.
    max_pages: int
    #: Name of the file, whose suffix names the language of source code.
    name: str = ""
    #: The library that reads PDF; see the setting ``pdf_parser``.
    pdf_parser: str = "pymupdf"
    #: The pages to read, from the first of these numbers (counted from 0) to before the second; None means
    #: all pages. Only formats that are ``parsed_in_parts`` use this option. The pages of a part may all be
    #: without text.
    part: tuple[int, int] | None = None
    #: Set if the text of the only page of ``part`` is to be recognised.
    ocr: OcrRequest | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ParserOutput:
    """The result of parsing one document."""

    #: The text of each page; "" for a page without text.
    pages: list[str]
    #: Number of pages of the whole document; None if ``pages`` has all pages.
    page_count: int | None = None
    facts: dict[Fact, str | float | bool] = field(default_factory=dict)
    #: The pages that could not be read, each with the reason; see ``ParsedDocument.unread``. A reason is a
    #: predicate, such as "is damaged".
    unread: dict[int, str] = field(default_factory=dict)
    #: The structure of each of ``pages``; empty if the parser knows no structure.
    structure: list[PageStructure] = field(default_factory=list)


class Unreadable(Exception):
    """Raised if no text can be read from a document.

    Args:
        outcome: any outcome except ok.
        detail: a predicate that completes the sentence "The document ...".
    """

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


ParseFunction = Callable[[bytes, ParseOptions], ParserOutput]
