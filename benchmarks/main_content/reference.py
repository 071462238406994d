"""The main content of documentation pages, by selectors that were written by hand for each site.

    reference = reference_of(data, SITES["mako"])
    reference.headings, reference.words

The extraction of ``data_jobs/stages/formats/web`` does not know these selectors.
"""

import re
from collections import Counter
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser

#: Pages with fewer words of main content, such as a page with a search field, are not compared.
MIN_WORDS = 20
WORD = re.compile(r"\w+")
HEADINGS = "h1, h2, h3, h4, h5, h6"
#: Elements without text that a reader sees. Diagrams are left out, because their words are pictures.
UNSEEN = "script, style, noscript, template, svg"


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteMarks:
    """Where the main content of a site's pages is."""

    #: Selector of the element with the main content.
    main: str
    #: Selector of elements inside it that are menus, tables of contents or signs of links.
    without: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PageReference:
    """The words and headings of a page's main content."""

    words: Counter[str]
    headings: Counter[str]


SITES = {
    "lxml": SiteMarks(main="div.document", without=".sidemenu, .contents.topic, .banner"),
    "mako": SiteMarks(main="#docs-body", without="a.headerlink"),
    "sqlite": SiteMarks(main="body", without=".nosearch, .menu, .searchmenu"),
    "sqlalchemy": SiteMarks(main="#docs-body", without="a.headerlink"),
}


def reference_of(data: bytes, marks: SiteMarks) -> PageReference | None:
    """Return the reference; None if the page has too few words of main content."""
    tree = LexborHTMLParser(data.decode("utf-8", "replace"))
    for node in tree.css(f"{UNSEEN}, {marks.without}"):
        node.decompose()
    main = tree.css_first(marks.main)
    if main is None:
        return None
    words = words_of(main.text(separator=" "))
    headings = Counter(normal(node.text()) for node in main.css(HEADINGS))
    del headings[""]
    return PageReference(words=words, headings=headings) if words.total() >= MIN_WORDS else None


def words_of(text: str) -> Counter[str]:
    """Count the words of a text in lower case."""
    return Counter(WORD.findall(text.lower()))


def normal(text: str) -> str:
    """Return the words of a heading in lower case, with a space between them."""
    return " ".join(WORD.findall(text.lower()))


def headings_of_html(markup: str) -> Counter[str]:
    """Count the headings of a document in HTML."""
    return Counter(normal(node.text()) for node in LexborHTMLParser(markup).css(HEADINGS))


def word_f1(found: Counter[str], expected: Counter[str]) -> float:
    """Return the harmonic mean of the precision and the recall of words."""
    common = (found & expected).total()
    return 2 * common / (found.total() + expected.total())
