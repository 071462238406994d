"""The readers of fetched web content. The parsing process calls them by the names that ``Parser`` sends.

FETCHED_READERS["sitemap"](data)      # {"pages": [...], "sitemaps": [...]}
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cluster.crawls.robots import RobotRules, kept_rules
from data_jobs.stages.formats.web.read_page import read_page
from data_jobs.stages.formats.web.sitemaps import read_sitemap


def _page(data: bytes, *, url: str, charset: str | None) -> dict[str, Any]:
    return asdict(read_page(data, url=url, charset=charset))


def _sitemap(data: bytes) -> dict[str, Any]:
    return asdict(read_sitemap(data))


def _robots(data: bytes, *, agent: str) -> dict[str, Any]:
    """Return the text of the rules. The text is parsed here first, so that the worker parses only a text that
    keeps the limits of this process.
    """
    text = kept_rules(data, agent=agent)
    RobotRules(text, agent=agent).permits("https://example.com/")
    return {"text": text}


#: Each reader takes the fetched bytes, and returns JSON values that ``fetched_results`` checks.
FETCHED_READERS: dict[str, Callable[..., dict[str, Any]]] = {
    "page": _page,
    "sitemap": _sitemap,
    "robots": _robots,
}
