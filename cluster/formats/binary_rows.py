"""Define the rows of the table of formats for PDF, and for the binary formats that are neither pictures, nor
documents of Office, nor containers of other files.
"""

from cluster.formats.format import DOCUMENT_PURPOSES, UNKNOWN, Format, OtherParser, matches, starts_with

#: Media type of a file of vectors.
PARQUET = "application/vnd.apache.parquet"

PDF = Format(
    name="PDF",
    media_type="application/pdf",
    recognises=lambda beginning: beginning.is_pdf,
    purposes=DOCUMENT_PURPOSES,
    parser="data_jobs.stages.formats.pdf.mupdf_parser",
    libraries=("pymupdf",),
    licence="AGPL-3.0 or commercial",
    parser_version=2,
    other_parsers={
        "pdfium": OtherParser(
            parser="data_jobs.stages.formats.pdf.pdfium_parser",
            libraries=("pypdfium2",),
            licence="BSD-3-Clause, Apache-2.0",
        )
    },
    page="a page",
    parsed_in_parts=True,
    recognisable=True,
)
BINARIES = (
    # Parquet holds vectors for the job ``bulk_insert_vectors``. It is not a format of documents.
    Format(
        name="Parquet",
        media_type=PARQUET,
        recognises=starts_with(b"PAR1"),
        purposes=("user_data",),
    ),
    Format(name="ELF", media_type="application/x-executable", recognises=starts_with(b"\x7fELF")),
    Format(
        name="RIFF",
        media_type=UNKNOWN.media_type,
        recognises=matches(rb"RIFF(?=.{0,3}[\x00-\x1f\x80-\xff]).{4}[A-Z]{3}[A-Z ]"),
    ),
)
#: The row for any other binary file.
NOT_TEXT = Format(
    name="binary", media_type=UNKNOWN.media_type, recognises=lambda beginning: beginning.text is None
)
