"""Define the faults of a PDF and of its pages, in the words that both parsers use.

raise no_text({1: PICTURE}, shows_something=lambda: True)    # Unreadable: needs_ocr
"""

import re
from collections.abc import Callable, Sequence

from cluster.records import NO_PAGE, Outcome
from data_jobs.stages.formats.contract import ParseOptions, Unreadable

#: The reasons why text of a page could not be read, for ``ParsedDocument.unread``.
PICTURE = "is a picture, which optical character recognition could read"
GARBAGE = "uses fonts that do not say which letters they draw: optical character recognition could read it"
DAMAGED = "is damaged"

#: A page contains garbage if at least this share of its characters is unknown. On such a page, lines with at
#: least this share of unknown characters are removed.
GARBAGE_SHARE = 0.2
UNKNOWN = "\ufffd"
PRIVATE = re.compile("[\ue000-\uf8ff]|\\(cid:\\d+\\)")

#: A page without text counts as a scan if pictures cover at least this share of the page.
SCANNED_SHARE = 0.5
#: If a page without text has at least this many filled shapes, the shapes count as drawn letters.
MIN_LETTER_SHAPES = 150

#: A PDF ends with a reference to its cross-reference table and with an end mark. Some generators omit the
#: reference or the mark.
END = re.compile(rb"startxref\s+\d+|%%EOF")
#: The beginning of an object. Objects after the last end mark belong to an update of the file that was cut
#: off.
OBJECT = re.compile(rb"\d\s+\d+\s+obj\b")

#: What an operator can do about a document without readable text, if recognition is off or not available.
RECOGNISE_IT = (
    "install Tesseract on the nodes with workers (CLUSTER_OCR must not be off), or run optical character "
    "recognition on it first"
)
NO_PAGES = "is damaged or cut short: no page of it can be found"
PASSWORD = "is protected by a password: remove the protection and ingest it again"  # noqa: S105  a sentence
XFA = (
    "is an XFA form, whose pages only Adobe's programs can draw: print it to a PDF with Adobe Reader, and "
    "ingest that"
)


def check_end(data: bytes) -> None:
    """Check that the file is complete. Any number of bytes after the end mark is ignored, unless these bytes
    contain objects.

    Raises:
        Unreadable: the end is missing; the outcome is ``corrupt``.
    """
    last = max(data.rfind(b"%%EOF"), data.rfind(b"startxref"))
    if last < 0 or not END.match(data, last) or OBJECT.search(data, last):
        raise Unreadable(Outcome.CORRUPT, "is damaged or cut short: its end is missing")


def check_page_count(count: int, options: ParseOptions) -> None:
    """Check the number of pages.

    Raises:
        Unreadable: the document has no pages, or too many.
    """
    if count == 0:
        raise Unreadable(Outcome.CORRUPT, NO_PAGES)
    if count > options.max_pages:
        raise Unreadable(
            Outcome.TOO_LARGE,
            f"has {count:,} pages; the limit is {options.max_pages:,} (CLUSTER_MAX_DOCUMENT_PAGES)",
        )


def portfolio(files: int) -> dict[int, str]:
    """Return the entry of ``ParsedDocument.unread`` for a portfolio that holds this number of files."""
    what = "the file in it was" if files == 1 else f"the {files:,} files in it were"
    return {
        NO_PAGE: f"is a portfolio, and {what} not read: "
        "take them out and ingest them as documents of their own"
    }


def unknown_share(text: str) -> float:
    """Return the share of characters that no font identifies, in [0, 1]; white space is not counted."""
    letters = len("".join(text.split()))
    return (text.count(UNKNOWN) + sum(map(len, PRIVATE.findall(text)))) / letters if letters else 0.0


def without_garbage(lines: Sequence[str]) -> str:
    """Return as one text the lines with few unknown characters, without these characters (U+FFFD)."""
    return "".join(line for line in lines if unknown_share(line) < GARBAGE_SHARE).replace(UNKNOWN, "")


def no_text(unread: dict[int, str], *, shows_something: Callable[[], bool]) -> Unreadable:
    """Return the error for a document without text.

    Args:
        unread: see ``ParsedDocument.unread``.
        shows_something: returns True if anything is drawn on a page.
    """
    reasons = set(unread.values())
    if NO_PAGE in unread:
        return Unreadable(Outcome.UNSUPPORTED, unread[NO_PAGE])
    if GARBAGE in reasons:
        return Unreadable(
            Outcome.NEEDS_OCR, f"uses fonts that do not say which letters they draw: {RECOGNISE_IT}"
        )
    if DAMAGED in reasons and PICTURE not in reasons:
        return Unreadable(Outcome.CORRUPT, "is damaged: no text of it can be read")
    if PICTURE in reasons or shows_something():
        return Unreadable(Outcome.NEEDS_OCR, f"holds pictures of text only: {RECOGNISE_IT}")
    return Unreadable(Outcome.EMPTY, "has pages, but nothing is on them")
