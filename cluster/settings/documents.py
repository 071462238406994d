"""Limits on one document while it is read and parsed."""

from pydantic import Field

from cluster.settings.values import MIB, Concern


class DocumentSettings(Concern):
    """Limits on one document while it is read and parsed."""

    max_document_bytes: int = Field(default=200 * MIB, ge=1)
    """Larger files are recorded as too_large and never read into memory."""

    max_document_pages: int = Field(default=10_000, ge=1)
    """Longer documents are recorded as too_large."""

    max_document_characters: int = Field(default=50_000_000, ge=1)
    """Documents with more text than this are recorded as too_large."""

    parse_timeout_s: float = Field(default=120.0, gt=0)
    """A parse that takes longer is killed and recorded as timeout."""

    parse_memory_bytes: int = Field(default=1024 * MIB, ge=256 * MIB)
    """Address space of the process that parses one document; beyond it the document is too_large."""

    keywords_per_document: int = Field(default=12, ge=0, le=100)
    """Keywords extracted from a document; 0 switches the stage off."""
