"""Define the rows of the table of formats for office documents and e-books. ``cluster.zip_marks`` recognises
the documents that are ZIP files.
"""

from cluster.formats.format import DOCUMENT_PURPOSES, Format, holds, matches, starts_with
from cluster.zip_marks import BINARY_EXCEL, EPUB, EXCEL, POWERPOINT, WORD

#: Beginning of the media types of OpenDocument.
OPEN_DOCUMENT = "application/vnd.oasis.opendocument."

OFFICE = (
    Format(
        name="DOCX",
        media_type=WORD,
        recognises=holds(WORD),
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.office.docx",
        page="the whole document",
    ),
    Format(
        name="PPTX",
        media_type=POWERPOINT,
        recognises=holds(POWERPOINT),
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.office.pptx",
        page="a slide",
    ),
    Format(
        name="XLSX",
        media_type=EXCEL,
        recognises=holds(EXCEL),
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.office.xlsx",
        page="a sheet",
    ),
    Format(name="XLSB", media_type=BINARY_EXCEL, recognises=holds(BINARY_EXCEL)),
    Format(
        name="ODT",
        media_type=OPEN_DOCUMENT + "text",
        recognises=holds(
            OPEN_DOCUMENT + "text", OPEN_DOCUMENT + "text-template", OPEN_DOCUMENT + "text-master"
        ),
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.office.odt",
        page="the whole document",
    ),
    Format(
        name="ODP",
        media_type=OPEN_DOCUMENT + "presentation",
        recognises=holds(OPEN_DOCUMENT + "presentation", OPEN_DOCUMENT + "presentation-template"),
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.office.odp",
        page="a slide",
    ),
    Format(
        name="ODS",
        media_type=OPEN_DOCUMENT + "spreadsheet",
        recognises=holds(OPEN_DOCUMENT + "spreadsheet", OPEN_DOCUMENT + "spreadsheet-template"),
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.office.ods",
        page="a sheet",
    ),
    Format(
        name="EPUB",
        media_type=EPUB,
        recognises=holds(EPUB),
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.office.epub",
        libraries=("selectolax", "chardet"),
        licence="MIT, 0BSD",
        page="a chapter",
    ),
    # No parser reads an OLE file, but such a file can be uploaded, so that its outcome can say what to do.
    Format(
        name="OLE",
        media_type="application/x-ole-storage",
        recognises=starts_with(b"\xd0\xcf\x11\xe0"),
        purposes=DOCUMENT_PURPOSES,
        refuser="data_jobs.stages.formats.office.ole",
    ),
    Format(
        name="RTF",
        media_type="application/rtf",
        recognises=matches(rb"\{\\rtf\d*\s*[\\{]"),
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.office.rtf",
        page="the whole document",
    ),
)
