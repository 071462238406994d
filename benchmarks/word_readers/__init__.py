"""Readers that share no code with our parsers, one for each kind of file that ``benchmarks.words`` reads.

text_of("html", b"<p>Herons", encoding="utf-8")    # "Herons"
"""

from collections.abc import Callable, Mapping

from benchmarks.word_readers.office import read_docx, read_open_document, read_pptx, read_xlsx
from benchmarks.word_readers.pages import read_html, read_markdown, read_pdf, read_text
from benchmarks.word_readers.records import read_json, read_json_lines, read_restructured, read_xml

#: The reader of each kind. Its arguments are the file, and the encoding of a text.
READERS: Mapping[str, Callable[[bytes, str], str]] = {
    "pdf": read_pdf,
    "html": read_html,
    "markdown": read_markdown,
    "text": read_text,
    "csv": read_text,
    "code": read_text,
    "json": read_json,
    "json lines": read_json_lines,
    "xml": read_xml,
    "rst": read_restructured,
    "docx": read_docx,
    "pptx": read_pptx,
    "xlsx": read_xlsx,
    "opendocument": read_open_document,
}


def text_of(kind: str, data: bytes, *, encoding: str) -> str:
    """The text of the file by the independent reader for its kind; "" if it cannot open the file."""
    return READERS[kind](data, encoding)
