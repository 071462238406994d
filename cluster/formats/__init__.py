"""Define the table of file formats. The table says how each format is recognised, for which purposes a file
of the format can be uploaded, and which parser reads it.

    recognise(b"%PDF-1.7 ...", name="anything.txt").media_type     # "application/pdf"
    format_of("text/markdown").parser                              # "data_jobs.stages.formats.markdown"

To add a format that can be ingested, write its parser (``data_jobs/stages/formats/contract.py`` has the
contract), add a row to the module of its family in this folder, and add a line to the handbook's table
(``docs/how-a-document-travels.md``). A container, such as an archive, has a reader of entries in place of a
parser (``data_jobs/stages/containers/contract.py``). ``format.py`` describes the columns of the table.
"""

from dataclasses import replace

from cluster.file_beginning import FileBeginning
from cluster.formats.binary_rows import BINARIES, NOT_TEXT, PARQUET, PDF
from cluster.formats.container_rows import CONTAINER_SUFFIXES, CONTAINERS
from cluster.formats.format import (
    DOCUMENT_PURPOSES,
    JSON_LINES_PURPOSES,
    PDF_PARSERS,
    PURPOSES,
    UNKNOWN,
    Format,
    Purpose,
)
from cluster.formats.office_rows import OFFICE
from cluster.formats.picture_rows import PICTURES
from cluster.formats.record_rows import BEFORE_JSON
from cluster.formats.text_rows import TEXTS

__all__ = [
    "BEFORE_JSON",
    "DOCUMENT_PURPOSES",
    "FORMATS",
    "INGESTIBLE",
    "JSON_LINES_PURPOSES",
    "PARQUET",
    "PDF",
    "PDF_PARSERS",
    "PURPOSES",
    "READABLE",
    "UNKNOWN",
    "UNPACKABLE",
    "Format",
    "Purpose",
    "format_of",
    "is_container_name",
    "readable",
    "recognise",
]

#: All formats, in the order in which ``recognise`` tries them. The row of PDF comes first, because a PDF may
#: have junk before its header. The rows of Office come before the row of ZIP, because most documents of
#: Office are ZIP files. The rows after ``NOT_TEXT`` are texts.
FORMATS = (PDF, *OFFICE, *CONTAINERS, *PICTURES, *BINARIES, NOT_TEXT, *TEXTS, UNKNOWN)
#: The formats whose text can be read.
READABLE = tuple(row for row in FORMATS if row.parser is not None)
#: The formats of containers, such as archives, whose entries are documents.
UNPACKABLE = tuple(row for row in FORMATS if row.entries is not None)
#: The formats that can be ingested: documents, and containers of documents.
INGESTIBLE = tuple(row for row in FORMATS if row in READABLE or row in UNPACKABLE)


def recognise(data: bytes, *, name: str, purpose: str | None = None) -> Format:
    """Recognise the format of a file.

    Args:
        data: the file, or its first ``file_beginning.SNIFFED_BYTES`` bytes. With the whole file, every
            document that is a ZIP file is recognised; with the first bytes, nearly every one.
        name: name of the file, which decides only between kinds of text.
        purpose: the purpose for which the file is uploaded. With None, the formats that are recognised only
            for their purposes are left out.
    """
    beginning = FileBeginning.of(data, name=name)
    candidates = (row for row in FORMATS if not row.only_for_its_purposes or purpose in row.purposes)
    return next(row for row in candidates if row.recognises(beginning))


def is_container_name(name: str) -> bool:
    """Return True if files with the suffix of this name usually are containers. The bytes are not read."""
    return name.rpartition(".")[2].lower() in CONTAINER_SUFFIXES


def format_of(media_type: str) -> Format:
    """Return the format with this media type; ``UNKNOWN`` if the table has no such format."""
    return next((row for row in FORMATS if row.media_type == media_type), UNKNOWN)


def readable(pdf_parser: str = PDF_PARSERS[0]) -> tuple[Format, ...]:
    """Return the formats of ``READABLE``, with the parser of PDF that the operator chose.

    Args:
        pdf_parser: the value of ``CLUSTER_PDF_PARSER``.
    """
    return tuple(
        replace(row, parser=other.parser, libraries=other.libraries, licence=other.licence)
        if (other := row.other_parsers.get(pdf_parser))
        else row
        for row in READABLE
    )
