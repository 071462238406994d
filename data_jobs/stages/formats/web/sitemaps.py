"""Reads sitemaps (sitemaps.org): XML with URLs, an index of other sitemaps, or text with a URL on each line.
Each of these three forms can be compressed with gzip.

    found = read_sitemap(body)
    found.pages, found.sitemaps       # ("https://example.com/a", ...), ()

The bytes may be hostile, so only the parsing process calls this module. The reader expands no entity, opens
no file, and has limits on bytes and URLs.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from data_jobs.stages.formats.web.web_page import MAX_LINK

#: Maximum number of bytes of a sitemap after decompression, and of its URLs. The protocol permits 50 MB and
#: 50,000 URLs.
MAX_SITEMAP_BYTES = 50 * 1024 * 1024
MAX_SITEMAP_URLS = 50_000
#: Maximum number of elements inside each other. Even a sitemap with all extensions has fewer.
MAX_DEPTH = 32
GZIP = b"\x1f\x8b"
#: ``wbits`` of zlib for a gzip file.
GZIP_BITS = 31
#: Number of bytes that the XML parser gets in one call. The limit on URLs is checked between calls.
PART_BYTES = 64 * 1024


class _Enough(Exception):
    """Raised inside the XML parser to stop it."""


@dataclass(kw_only=True, slots=True)
class FoundInSitemap:
    """The URLs that a sitemap names, as the sitemap writes them."""

    #: URLs of pages.
    pages: list[str] = field(default_factory=list)
    #: URLs of other sitemaps, if the sitemap is an index.
    sitemaps: list[str] = field(default_factory=list)
    #: A predicate that completes the sentence "The sitemap ..." if the sitemap was not read; "" if it was.
    fault: str = ""

    @property
    def full(self) -> bool:
        """True if the maximum number of URLs is read. The sitemap may have more URLs."""
        return len(self.pages) + len(self.sitemaps) >= MAX_SITEMAP_URLS


def sitemap_of(written: Mapping[str, Any]) -> FoundInSitemap:
    """Return the URLs that the parsing process wrote.

    Raises:
        ValueError, TypeError, KeyError: a value is invalid.
    """
    found = FoundInSitemap(pages=list(written["pages"]), sitemaps=list(written["sitemaps"]))
    urls = [*found.pages, *found.sitemaps]
    if len(urls) > MAX_SITEMAP_URLS or any(len(url) > MAX_LINK for url in urls):
        raise ValueError("more or longer URLs than the limit")
    "".join(urls).encode()  # fails for a value that is no string, and for half of a surrogate pair
    return found


def read_sitemap(body: bytes) -> FoundInSitemap:
    """Return the URLs of a sitemap. If its XML is damaged, return the URLs before the damage; if its gzip
    compression is damaged, return no URLs.
    """
    data = _unpacked(body)
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    return _read_xml(data) if start.startswith(b"<") else _read_text(data)


def _unpacked(body: bytes) -> bytes:
    """Return the content of a gzip file; return all other bytes unchanged. Everything after
    ``MAX_SITEMAP_BYTES`` is cut off. The content of a damaged gzip file is empty.
    """
    if not body.startswith(GZIP):
        return body[:MAX_SITEMAP_BYTES]
    unpacker = zlib.decompressobj(GZIP_BITS)
    try:
        return unpacker.decompress(body, MAX_SITEMAP_BYTES)
    except zlib.error:
        return b""


def _read_text(data: bytes) -> FoundInSitemap:
    found = FoundInSitemap()
    for line in data.decode("utf-8", "replace").splitlines():
        url = line.strip()
        if url and len(url) <= MAX_LINK:
            found.pages.append(url)
        if found.full:
            break
    return found


def _read_xml(data: bytes) -> FoundInSitemap:
    reader = _XmlReader()
    try:
        for first in range(0, len(data), PART_BYTES):
            reader.parser.Parse(data[first : first + PART_BYTES])
            if reader.found.full:
                break
    except (expat.ExpatError, _Enough):
        pass  # the URLs before the damage are used
    return reader.found


class _XmlReader:
    """Collects the URLs in the ``loc`` elements of a sitemap. The reader stops at a document type
    declaration, because only such a declaration can define entities.
    """

    def __init__(self) -> None:
        self.found = FoundInSitemap()
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self._open: list[str] = []
        #: Prefix of the names of the protocol's own elements, such as "" or "sm:".
        self._prefix = ""
        self._text_parts: list[str] = []

    def _doctype(self, *_: object) -> None:
        raise _Enough

    def _start(self, name: str, _: object) -> None:
        if not self._open:
            self._prefix = name[: name.rfind(":") + 1]
        # Elements of extensions, such as ``image:loc``, have another prefix, and keep it.
        self._open.append(name.removeprefix(self._prefix).lower())
        self._text_parts = []
        if len(self._open) > MAX_DEPTH:
            raise _Enough

    def _text(self, text: str) -> None:
        if self._open[-1:] == ["loc"]:
            self._text_parts.append(text)

    def _end(self, _: str) -> None:
        name = self._open.pop()
        parent = self._open[-1] if self._open else ""
        url = "".join(self._text_parts).strip()
        if name == "loc" and url and len(url) <= MAX_LINK and not self.found.full:
            if parent == "sitemap":
                self.found.sitemaps.append(url)
            elif parent == "url":
                self.found.pages.append(url)
