"""Decides which URLs a crawl may visit, apart from the rules of ``robots.txt``.

    scope = CrawlScope(options, start="https://example.com/docs/")
    scope.includes("https://example.com/docs/install.html")       # True
    scope.includes("https://example.com/blog/")                   # False: not below the path of the start

The patterns come from tenants. Each comparison with a pattern has a time limit, because a regular expression
can take exponential time.
"""

from functools import partial
from urllib.parse import urlsplit

import regex

from cluster.errors import InvalidInput, Permanent
from cluster.jobs.kinds.crawl_inputs import CrawlOptions, public_name

#: Time limit in seconds for one comparison of a pattern with a URL.
PATTERN_TIMEOUT_S = 0.25
WWW = "www."


def require_patterns(options: CrawlOptions) -> None:
    """Check that the patterns are valid regular expressions.

    Raises:
        InvalidInput: a pattern is not valid.
    """
    for name in ("include_paths", "exclude_paths"):
        for pattern in getattr(options, name) or ():
            try:
                regex.compile(pattern)
            except regex.error as exc:
                field = public_name(name)
                raise InvalidInput(
                    f"{field} has {pattern!r}, which is not a valid regular expression: {exc}", param=field
                ) from exc


class CrawlScope:
    """The URLs that a crawl may visit.

    Args:
        options: the options of the crawl.
        start: the URL at which the crawl starts, after redirects.
    """

    def __init__(self, options: CrawlOptions, *, start: str) -> None:
        self._options = options
        parts = urlsplit(start)
        self._host = _plain_host(parts.netloc)
        self._path = parts.path
        self._folder = _folder(parts.path)

    def includes(self, url: str) -> bool:
        """Return True if the crawl may visit the URL.

        Raises:
            Permanent: the comparison of a pattern with the URL takes longer than ``PATTERN_TIMEOUT_S``.
        """
        return self._is_near(url) and self._matches(url)

    def _is_near(self, url: str) -> bool:
        """Return True if the options permit the host and the path, apart from the patterns."""
        options, parts = self._options, urlsplit(url)
        host = _plain_host(parts.netloc)
        if host == self._host:
            below = parts.path == self._path or parts.path.startswith(self._folder)
            return options.crawl_entire_domain or below
        if host.endswith(f".{self._host}") and options.allow_subdomains:
            return True
        return options.allow_external_links

    def _matches(self, url: str) -> bool:
        options = self._options
        text = url if options.regex_on_full_url else urlsplit(url).path
        any_of = partial(_any_matches, text=text)
        if options.include_paths and not any_of(options.include_paths):
            return False
        return not (options.exclude_paths and any_of(options.exclude_paths))


def _any_matches(patterns: list[str], *, text: str) -> bool:
    for pattern in patterns:
        try:
            if regex.search(pattern, text, timeout=PATTERN_TIMEOUT_S):
                return True
        except TimeoutError as exc:
            raise Permanent(
                f"the pattern {pattern!r} took longer than {PATTERN_TIMEOUT_S} s for {text[:200]!r}; use a "
                "simpler regular expression"
            ) from exc
    return False


def _plain_host(place: str) -> str:
    return place.removeprefix(WWW)


def _folder(path: str) -> str:
    """Return the folder of the path: ``/docs/`` for ``/docs``, ``/docs/`` and ``/docs/index.html``. By
    default, a crawl visits only pages below the folder of its start.
    """
    parent, _, last = path.rpartition("/")
    return f"{parent}/" if not last or "." in last else f"{path}/"
