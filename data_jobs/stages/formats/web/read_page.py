"""Read a fetched web page. The parsing process calls this module, and no other code reads fetched bytes.

page = read_page(data, url="https://example.com/docs/", charset="utf-8")
page.title, page.blocks[0], page.links      # "Docs", "<h1>Docs</h1>", ("https://example.com/docs/a",)
"""

import re

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from cluster.records import Outcome
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.text import clean
from data_jobs.stages.formats.web.main_content import main_content
from data_jobs.stages.formats.web.metadata import PageMetadata
from data_jobs.stages.formats.web.minimal_html import blocks
from data_jobs.stages.formats.web.web_page import WebPage

#: A page with scripts and at most this many words of main content counts as a page that needs a browser, if
#: it also has an empty element that scripts fill, or text for readers without scripts.
FEW_WORDS = 25
#: Ids of the elements that the usual frameworks fill.
FILLED_BY_SCRIPTS = (
    "#root, #app, #__next, #__nuxt, #react-root, #svelte, app-root, [data-reactroot], [ng-app]"
)
#: Maximum number of these elements, and of ``noscript`` elements, that are examined.
MAX_FILLED = 10
WITHOUT_SCRIPTS = re.compile(
    r"enable\s+javascript|requires?\s+javascript|javascript\s+(?:is|to)\b", re.IGNORECASE
)
TAG = re.compile(r"<[^>]*>")


def read_page(data: bytes, *, url: str, charset: str | None = None) -> WebPage:
    """Read the page: its main content and what it says about itself.

    Args:
        data: the body of the HTTP response.
        url: URL that gave this response.
        charset: character set that the header ``Content-Type`` names.

    Raises:
        MemoryError: the tree does not fit into the memory of the process.
    """
    markup = clean(decode(data, declared=charset).text)
    try:
        tree = LexborHTMLParser(markup)
    except SelectolaxError as exc:  # Lexbor accepts any markup and fails only for lack of memory
        raise MemoryError(str(exc)) from exc
    metadata = PageMetadata(tree, url)
    content = main_content(tree)
    found = [] if content is None else blocks(content)
    needs_browser = _needs_browser(tree, found)
    outcome, detail = (Outcome.OK, "") if found else (Outcome.EMPTY, "holds no text")
    if needs_browser:
        detail = "shows its text only in a browser that runs its scripts"
    published, modified = metadata.dates
    robots = metadata.robots
    return WebPage(
        outcome=outcome,
        detail=detail,
        title=metadata.title,
        language=metadata.language,
        published=published,
        modified=modified,
        canonical=metadata.canonical,
        links=metadata.links,
        noindex="noindex" in robots,
        needs_browser=needs_browser,
        blocks=tuple(found),
    )


def _needs_browser(tree: LexborHTMLParser, found: list[str]) -> bool:
    words = sum(len(TAG.sub(" ", block).split()) for block in found)
    if words > FEW_WORDS or tree.css_first("script") is None:
        return False
    empty = (not node.text(deep=True).strip() for node in tree.css(FILLED_BY_SCRIPTS)[:MAX_FILLED])
    hints = (WITHOUT_SCRIPTS.search(node.html or "") for node in tree.css("noscript")[:MAX_FILLED])
    return any(empty) or any(hints)
