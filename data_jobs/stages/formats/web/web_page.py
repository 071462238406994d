"""Define what is read from one fetched web page.

The parsing process returns a ``WebPage`` as JSON, and ``web_page_of`` checks this JSON, because the process
parsed hostile bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.records import Outcome

#: Maximum number of links that are kept of one page, and of characters of each link.
MAX_LINKS, MAX_LINK = 5_000, 2_000
#: Maximum number of characters of a title and of the other short values.
MAX_TITLE = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class WebPage:
    """One fetched page."""

    #: ``ok``, or the reason for which the page has no blocks.
    outcome: Outcome
    #: A predicate that completes the sentence "The page ..."; "" for an ``ok`` page that needs no browser.
    detail: str = ""
    title: str = ""
    #: Language that the page declares, in lower case, such as "en" or "pt-br"; "" if it declares none.
    language: str = ""
    #: Date of publication that the page declares, such as "2026-05-01"; "" if it declares none.
    published: str = ""
    #: Date of the last change that the page declares; "" if it declares none.
    modified: str = ""
    #: URL that the page names as its canonical URL; "" if it names none of its own origin.
    canonical: str = ""
    #: Absolute URLs of the links that a crawler may follow, without repetition, in the order of the page.
    links: tuple[str, ...] = ()
    #: True if the page forbids that its text is indexed.
    noindex: bool = False
    #: True if the page shows its text only in a browser that runs its scripts.
    needs_browser: bool = False
    #: The main content: fragments of HTML, such as ``<h2>Install</h2>``.
    blocks: tuple[str, ...] = ()


def web_page_of(written: Mapping[str, Any]) -> WebPage:
    """Return the page that the parsing process wrote.

    Raises:
        ValueError, TypeError, KeyError: a value is invalid.
    """
    links, blocks = [_text(link) for link in written["links"]], [_text(block) for block in written["blocks"]]
    canonical = _text(written["canonical"])
    if len(links) > MAX_LINKS or any(len(link) > MAX_LINK for link in (*links, canonical)):
        raise ValueError("more or longer links than the limit")
    return WebPage(
        outcome=Outcome(written["outcome"]),
        detail=_short(written["detail"]),
        title=_short(written["title"]),
        language=_short(written["language"]),
        published=_short(written["published"]),
        modified=_short(written["modified"]),
        canonical=canonical,
        links=tuple(links),
        noindex=bool(written["noindex"]),
        needs_browser=bool(written["needs_browser"]),
        blocks=tuple(blocks),
    )


def _short(value: Any) -> str:
    if len(text := _text(value)) > MAX_TITLE:
        raise ValueError("a text that is too long")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a value that is not text")
    return value
