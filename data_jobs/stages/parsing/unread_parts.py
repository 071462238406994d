"""Say in one sentence which parts of a document could not be read.

unread_sentence({2: "is a picture", 3: "is a picture", 9: "is damaged"}, 10)
# "pages 2-3 of 10 could not be read: each is a picture; page 9 of 10 could not be read: it is damaged"
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from cluster.records import NO_PAGE, Fact, Facts

#: Maximum number of page ranges listed for one reason, and maximum number of reasons listed.
MAX_RANGES, MAX_REASONS = 40, 10


def unread_sentence(unread: Mapping[int, str], page_count: int) -> str:
    """Return a sentence about the parts that could not be read, or "" if everything was read.

    Args:
        unread: see ``ParsedDocument.unread``.
        page_count: number of pages of the whole document.
    """
    by_reason: dict[str, list[int]] = defaultdict(list)
    for page, reason in sorted(unread.items()):
        if page != NO_PAGE:
            by_reason[reason].append(page)
    parts = [unread[NO_PAGE]] if NO_PAGE in unread else []
    for reason, pages in list(by_reason.items())[:MAX_REASONS]:
        what, subject = ("page", "it") if len(pages) == 1 else ("pages", "each")
        parts.append(f"{what} {ranges(pages)} of {page_count:,} could not be read: {subject} {reason}")
    if len(by_reason) > MAX_REASONS:
        rest = sum(map(len, list(by_reason.values())[MAX_REASONS:]))
        parts.append(f"{rest:,} further pages could not be read for other reasons")
    return "; ".join(parts)


def with_unread(facts: Facts, unread: Mapping[int, str]) -> Facts:
    """Return the facts and, if pages could not be read, the number of unread pages."""
    pages = sum(page != NO_PAGE for page in unread)
    return {**facts, Fact.UNREAD_PAGES: pages} if pages else facts


def ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers as ranges, such as ``2-9, 12``. At most ``MAX_RANGES`` ranges are listed."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs[:MAX_RANGES])
    return shown if len(runs) <= MAX_RANGES else f"{shown} and {len(runs) - MAX_RANGES:,} further ranges"
