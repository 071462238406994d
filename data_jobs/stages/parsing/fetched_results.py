"""Check what the parsing process read from fetched web content. ``parser`` calls this module.

Every value is checked, because the child may have parsed hostile bytes.
"""

import json

from cluster.crawls.robots import MAX_RULES_CHARACTERS, nothing_permitted
from cluster.records import Outcome
from cluster.text.storable_text import is_text
from data_jobs.stages.formats.web.sitemaps import FoundInSitemap, sitemap_of
from data_jobs.stages.formats.web.web_page import WebPage, web_page_of
from data_jobs.stages.parsing.memory_file import MemoryFile

INVALID = (ValueError, TypeError, KeyError, AttributeError)


def read_web_page_result(result: MemoryFile) -> WebPage:
    """Return the page. If a value is invalid, the outcome is ``corrupt``."""
    try:
        return web_page_of(json.loads(result.read()))
    except INVALID as exc:
        return WebPage(outcome=Outcome.CORRUPT, detail=_fault(exc))


def read_sitemap_result(result: MemoryFile) -> FoundInSitemap:
    """Return the URLs of the sitemap. If a value is invalid, there are no URLs."""
    try:
        return sitemap_of(json.loads(result.read()))
    except INVALID as exc:
        return FoundInSitemap(fault=_fault(exc))


def read_robots_result(result: MemoryFile) -> str:
    """Return the text of the rules. If the text is invalid, the rules permit nothing."""
    try:
        text = json.loads(result.read())["text"]
        if len(text) > MAX_RULES_CHARACTERS or not is_text(text):
            raise ValueError("a text that is too long, or that Postgres cannot store")
    except INVALID as exc:
        return nothing_permitted(f"it {_fault(exc)}")
    return str(text)


def _fault(exc: Exception) -> str:
    return f"made its parser give an invalid result ({type(exc).__name__})"
