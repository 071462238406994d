"""Read what a web page says about itself: title, language, dates, canonical URL, rules for robots, links.

``read_page`` uses this module.
"""

import re
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser

from data_jobs.stages.formats.text import clean
from data_jobs.stages.formats.web.web_page import MAX_LINK, MAX_LINKS, MAX_TITLE

#: Elements that name the date of publication, each with the attribute that has the date.
PUBLISHED = (
    ('meta[property="article:published_time"]', "content"),
    ('meta[itemprop="datePublished"]', "content"),
    ('meta[name="date"]', "content"),
    ('meta[name="dcterms.created"]', "content"),
    ('time[itemprop="datePublished"]', "datetime"),
    ("time[pubdate]", "datetime"),
)
#: Elements that name the date of the last change, each with the attribute that has the date.
MODIFIED = (
    ('meta[property="article:modified_time"]', "content"),
    ('meta[property="og:updated_time"]', "content"),
    ('meta[itemprop="dateModified"]', "content"),
    ('meta[name="last-modified"]', "content"),
    ('meta[name="dcterms.modified"]', "content"),
    ('time[itemprop="dateModified"]', "datetime"),
)
#: The same dates in JSON-LD (https://schema.org/datePublished).
IN_JSON = re.compile(r'"(datePublished|dateModified)"\s*:\s*"(\d{4}-\d{2}-\d{2})')
DATE = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{2,8})*")
#: Relations of links that are not followed.
NOT_FOLLOWED = frozenset({"nofollow", "ugc", "sponsored"})
SCHEMES = frozenset({"http", "https"})
SPACE = re.compile(r"\s+")
#: What a browser removes from a URL (https://url.spec.whatwg.org/#concept-basic-url-parser).
NOT_IN_URLS = re.compile(r"[\t\n\r]")


class PageMetadata:
    """Reads what one page says about itself.

    Args:
        tree: the page.
        url: URL of the page.
    """

    def __init__(self, tree: LexborHTMLParser, url: str) -> None:
        self._tree = tree
        self._url = url
        base = tree.css_first("base[href]")
        joined = _joined(url, base.attributes.get("href") or "") if base is not None else None
        self._base = joined or url

    @property
    def title(self) -> str:
        """The title; the first heading of level 1 if the page has no title; else ""."""
        for selector in ("head > title", "h1"):
            found = self._tree.css_first(selector)
            text = "" if found is None else SPACE.sub(" ", clean(found.text(deep=True))).strip()
            if text:
                return text[:MAX_TITLE]
        return ""

    @property
    def language(self) -> str:
        """The language that the page declares, in lower case; "" if it declares none."""
        html = self._tree.css_first("html")
        named = "" if html is None else html.attributes.get("lang") or html.attributes.get("xml:lang") or ""
        language = named.strip().lower().replace("_", "-")
        return language if LANGUAGE.fullmatch(language) and len(language) <= MAX_TITLE else ""

    @property
    def dates(self) -> tuple[str, str]:
        """The dates of publication and of the last change; "" for a date that the page does not declare."""
        in_json: dict[str, str] = {}
        for script in self._tree.css('script[type="application/ld+json"]'):
            for name, date in IN_JSON.findall(script.text(deep=True)):
                if DATE.fullmatch(date):
                    in_json.setdefault(name, date)
        published = self._date(PUBLISHED) or in_json.get("datePublished", "")
        return published, self._date(MODIFIED) or in_json.get("dateModified", "")

    @property
    def canonical(self) -> str:
        """The canonical URL; "" if the page names no such URL of its own origin."""
        link = self._tree.css_first('link[rel~="canonical"][href]')
        found = None if link is None else _joined(self._base, link.attributes.get("href") or "")
        return found if found is not None and _origin(found) == _origin(self._url) else ""

    @property
    def robots(self) -> frozenset[str]:
        """The rules for robots, such as "noindex" and "nofollow"."""
        rules: set[str] = set()
        for meta in self._tree.css("meta[name][content]"):
            if (meta.attributes.get("name") or "").lower() == "robots":
                rules.update(rule.strip().lower() for rule in (meta.attributes["content"] or "").split(","))
        if "none" in rules:
            rules |= {"noindex", "nofollow"}
        return frozenset(rules)

    @property
    def links(self) -> tuple[str, ...]:
        """The URLs of the links that may be followed, without fragments and without repetition."""
        if "nofollow" in self.robots:
            return ()
        found: dict[str, None] = {}
        for anchor in self._tree.css("a[href], area[href]"):
            if NOT_FOLLOWED.isdisjoint((anchor.attributes.get("rel") or "").lower().split()):
                link = _joined(self._base, anchor.attributes.get("href") or "")
                if link is not None:
                    found.setdefault(link)
                    if len(found) == MAX_LINKS:
                        break
        return tuple(found)

    def _date(self, places: tuple[tuple[str, str], ...]) -> str:
        for selector, attribute in places:
            for found in self._tree.css(selector):
                date = DATE.match((found.attributes.get(attribute) or "").strip())
                if date is not None:
                    return date[0]
        return ""


def _joined(base: str, link: str) -> str | None:
    """Return the absolute URL without its fragment; None if the link leads to no page."""
    link = NOT_IN_URLS.sub("", link.strip())
    if not link or len(link) > MAX_LINK:
        return None
    try:
        url = urljoin(base, link)
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError if the port is not a number
    except ValueError:
        return None
    if parts.scheme not in SCHEMES or not parts.hostname or len(url) > MAX_LINK:
        return None
    return url.partition("#")[0]


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
