"""Refuse documents for reasons that several formats share.

refuse_too_many(len(slides), "slides", options)
refuse_pictures_only(pages, package.names)
"""

from collections.abc import Iterable

from cluster.records import Outcome
from data_jobs.stages.formats.contract import ParseOptions, Unreadable

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".emf", ".wmf", ".bmp", ".webp", ".svg")


def refuse_too_many(count: int, what: str, options: ParseOptions) -> None:
    """Refuse a document with too many pages.

    Args:
        count: number of pages.
        what: what the pages are called, such as "slides".
        options: the limits.

    Raises:
        Unreadable: there are more pages than the limit.
    """
    if count > options.max_pages:
        limit = f"the limit is {options.max_pages:,} (CLUSTER_MAX_DOCUMENT_PAGES)"
        raise Unreadable(Outcome.TOO_LARGE, f"has {count:,} {what}; {limit}")


def refuse_pictures_only(pages: Iterable[str], parts: Iterable[str]) -> None:
    """Refuse a document that has pictures but no text.

    Args:
        pages: the text of the pages.
        parts: names of the parts of the document.

    Raises:
        Unreadable: the outcome is ``needs_ocr``.
    """
    if any(page.strip() for page in pages):
        return
    if any(part.lower().endswith(PICTURES) and "thumbnail" not in part.lower() for part in parts):
        raise Unreadable(
            Outcome.NEEDS_OCR, "holds pictures and no text: its text would need optical character recognition"
        )
