"""robots.txt and the sitemaps of the site of traps."""

import gzip
from collections.abc import Sequence

from tests.simulators.site.traps import bomb

XMLNS = "http://www.sitemaps.org/schemas/sitemap/0.9"


def robots(base: str, port: int) -> str:
    """Return robots.txt. One of its sitemaps is at the inner service."""
    return (
        "User-agent: *\n"
        "Disallow: /private/\n"
        "Allow: /private/open.html\n"
        "Disallow: /*.tmp$\n\n"
        f"Sitemap: {base}/sitemap.xml\n"
        f"Sitemap: http://127.0.0.66:{port}/sitemap.xml\n"
    )


def sitemap(path: str, base: str, port: int, paths: Sequence[str]) -> bytes | None:
    """Return the sitemap at this path; None if there is none. ``/sitemap.xml`` lists the others, with traps:
    inner addresses, a file, an index that contains itself, a bomb of gzip, and a bomb of entities.
    """
    inner = f"http://127.0.0.66:{port}"
    documents = {
        "/sitemap.xml": _index(
            f"{base}/sitemap-pages.xml.gz",
            f"{base}/sitemap-text.txt",
            f"{base}/sitemap-traps.xml",
            f"{base}/sitemap-bomb.xml.gz",
            f"{base}/sitemap-entities.xml",
            f"{base}/sitemap.xml",
            f"{inner}/sitemap.xml",
            "file:///etc/passwd",
        ),
        "/sitemap-traps.xml": _urls(
            f"{inner}/secret", "http://169.254.169.254/", "file:///etc/passwd", f"{base}/private/closed.html"
        ),
        "/sitemap-pages.xml.gz": gzip.compress(_urls(*(base + path for path in paths))),
        "/sitemap-text.txt": "\n".join([f"{base}/", f"{inner}/secret", "not a URL"]).encode(),
        "/sitemap-bomb.xml.gz": bomb(),
        "/sitemap-entities.xml": _entities(),
    }
    return documents.get(path)


def _index(*urls: str) -> bytes:
    entries = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in urls)
    return f'<?xml version="1.0"?><sitemapindex xmlns="{XMLNS}">{entries}</sitemapindex>'.encode()


def _urls(*urls: str) -> bytes:
    entries = "".join(f"<url><loc>{url}</loc><lastmod>2026-05-01</lastmod></url>" for url in urls)
    return f'<?xml version="1.0"?><urlset xmlns="{XMLNS}">{entries}</urlset>'.encode()


def _entities() -> bytes:
    """Return a sitemap whose entities become a gigabyte, and one of which is a file."""
    levels = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    return (
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "http://a.test/">{levels}'
        f'<!ENTITY file SYSTEM "file:///etc/passwd">]>'
        f'<urlset xmlns="{XMLNS}"><url><loc>&e9;</loc></url><url><loc>&file;</loc></url></urlset>'
    ).encode()
