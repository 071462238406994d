"""The limits on one document while it is read and parsed, and on containers of documents."""

from typing import Literal

from pydantic import Field

from cluster.settings.values import MIB, Concern

#: One to eight languages as Tesseract names them, such as ``deu`` or ``chi_sim``, separated by ``+``.
OCR_LANGUAGES = r"^[A-Za-z]{3}(_[A-Za-z]+)*(\+[A-Za-z]{3}(_[A-Za-z]+)*){0,7}$"
#: Maximum number of characters of the languages together.
MAX_OCR_LANGUAGES = 200


class DocumentSettings(Concern):
    """The limits on one document while it is read and parsed, and the number of its keywords."""

    max_document_bytes: int = Field(default=200 * MIB, ge=1)
    """Maximum size of a document, in bytes. A larger file may be stored, but its document is recorded as
    ``too_large`` and never read into memory."""

    max_document_pages: int = Field(default=10_000, ge=1)
    """Maximum number of pages of a document. A longer document is recorded as ``too_large``."""

    max_document_characters: int = Field(default=50_000_000, ge=1)
    """Maximum number of characters of a document's text. A longer document is recorded as ``too_large``."""

    parse_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds that parsing may take, for a whole document in a bulk job and for each 50 pages in a worker. A
    parser that needs longer is killed, and the document is recorded as ``timeout``."""

    parse_memory_bytes: int = Field(default=1024 * MIB, ge=256 * MIB)
    """Address space of the process that parses one document, in bytes. A document that needs more is recorded
    as ``too_large``."""

    pdf_parser: Literal["pymupdf", "pdfium"] = "pymupdf"
    """The library that reads PDF: ``pymupdf`` (AGPL or commercial licence), or ``pdfium`` (BSD and Apache
    licences), which needs no PyMuPDF. If this value changes, PDF documents are parsed again when they are
    ingested again."""

    ocr: Literal["auto", "off", "force"] = "auto"
    """Optical character recognition by Tesseract. ``auto`` recognises pages without readable text, and
    pictures, on nodes where Tesseract is installed. ``off`` recognises nothing. ``force`` recognises all
    pages, also those with text."""

    ocr_languages: str = Field(default="eng", pattern=OCR_LANGUAGES, max_length=MAX_OCR_LANGUAGES)
    """Languages of the text to recognise, as Tesseract names them, separated by ``+``: ``deu+eng``. Each
    language needs its data on each node with workers."""

    ocr_page_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that recognising one page may take. A page that takes longer is reported as unread."""

    keywords_per_document: int = Field(default=12, ge=0, le=100)
    """Number of keywords that are extracted from a document. 0 switches the stage off."""


class ContainerSettings(Concern):
    """The limits on a container, such as an archive, and on the containers inside it."""

    max_container_entries: int = Field(default=10_000, ge=1, le=1_000_000)
    """Maximum number of entries of a container, including the entries of containers inside it. A container
    with more entries is recorded as ``too_large``, and none of its entries is read."""

    max_container_bytes: int = Field(default=2048 * MIB, ge=1)
    """Maximum size of all entries of a container together, in bytes after unpacking. Each entry also has the
    limit of a document."""

    max_container_ratio: int = Field(default=200, ge=1)
    """Maximum ratio of the unpacked size to the size of a container. A container that unpacks to 16 MiB or
    less may have any ratio."""

    max_container_depth: int = Field(default=3, ge=1, le=10)
    """Maximum number of containers that lie inside each other. The entries of a deeper container are not
    read."""

    unpack_timeout_s: float = Field(default=300.0, gt=0)
    """Seconds that unpacking a container may take. After this time, the container is recorded as
    ``timeout``."""
