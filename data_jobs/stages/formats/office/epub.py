"""Parse an e-book (EPUB 2 and 3) into one page for each chapter, which is a file of the reading order.

The chapters are XHTML, and the parser of HTML reads them. Nothing is fetched, and no script runs.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from selectolax.lexbor import LexborHTMLParser

from cluster.page_structure import PROSE, PageStructure
from cluster.records import Fact, Outcome
from data_jobs.stages.formats import html
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.refusals import refuse_pictures_only, refuse_too_many
from data_jobs.stages.formats.office.xml_tree import children, first, read_tree
from data_jobs.stages.formats.page_builder import in_one_line

CONTAINER, ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
#: Media types of chapters.
CHAPTERS = frozenset({"application/xhtml+xml", "text/html", "text/x-oeb1-document"})
#: An empty element of XHTML, which HTML would leave open; and the elements that are empty in HTML, too.
EMPTY_ELEMENT = re.compile(rb"""<([a-zA-Z][\w:.-]*)((?:[^<>"']|"[^"]*"|'[^']*')*)/>""")
VOID = frozenset(b"area base br col embed hr img input link meta param source track wbr".split())
#: Maximum length of the name of a page.
MAX_NAME = 128


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse an e-book. The page of a chapter is named after its entry in the table of contents.

    Raises:
        Unreadable: the book is damaged, encrypted or over a limit, or has pictures and no text.
    """
    package = Package(data)
    root_file = first(read_tree(package.read(CONTAINER), with_doctype=True), "container:rootfile")
    main = "" if root_file is None else root_file.get("full-path", "")
    book = read_tree(package.read(main), with_doctype=True)
    folder = posixpath.dirname(main)
    items = {item.get("id", ""): item for item in children(book, "opf:manifest", "opf:item")}
    spine = [items.get(entry.get("idref", "")) for entry in children(book, "opf:spine", "opf:itemref")]
    paths = (
        _path(folder, item.get("href", ""))
        for item in spine
        if item is not None and item.get("media-type") in CHAPTERS
    )
    chapters = list(dict.fromkeys(paths))  # read a chapter once, even if the book names the chapter twice
    if not chapters:
        raise Unreadable(Outcome.CORRUPT, "is damaged: it names no chapters")
    refuse_too_many(len(chapters), "chapters", options)
    _refuse_encrypted(package, chapters)
    names = _names(package, folder, items, book)
    pages: list[str] = []
    structure: list[PageStructure] = []
    unread: dict[int, str] = {}
    hidden = 0.0
    for number, chapter in enumerate(chapters, start=1):
        try:
            markup = package.read(chapter)
        except Unreadable as exc:
            if exc.outcome is not Outcome.CORRUPT:
                raise
            unread[number] = "is damaged or missing"
            pages.append("")
            structure.append(PROSE)
            continue
        output = html.parse(_as_html(markup), options)
        hidden += float(output.facts.get(Fact.HIDDEN_CHARACTERS, 0))
        pages.append(output.pages[0])
        blocks = output.structure[0].blocks if output.structure else ()
        structure.append(PageStructure(label=names.get(chapter, ""), blocks=blocks))
    refuse_pictures_only(pages, package.names)
    return ParserOutput(
        pages=pages,
        structure=structure,
        facts={Fact.HIDDEN_CHARACTERS: int(hidden)} if hidden else {},
        unread=unread,
    )


def _as_html(markup: bytes) -> bytes:
    """Return XHTML with an end tag for each empty element. Without the end tag of an
    empty ``<title/>`` or ``<script/>``, HTML reads all the following text as the content of this element.
    """

    def closed(found: re.Match[bytes]) -> bytes:
        name = found[1]
        return found[0] if name.lower() in VOID else b"<" + name + found[2] + b"></" + name + b">"

    return EMPTY_ELEMENT.sub(closed, markup)


def _path(folder: str, href: str) -> str:
    """Return the name of the part to which a link leads, without its fragment."""
    return posixpath.normpath(posixpath.join("/", folder, unquote(urlsplit(href).path))).lstrip("/")


def _refuse_encrypted(package: Package, chapters: list[str]) -> None:
    """Refuse a book whose chapters are encrypted. Books may encrypt their fonts only."""
    data = package.read_if_whole(ENCRYPTION)
    if not data:
        return
    encrypted = {
        _path("", reference.get("URI", "")) for reference in read_tree(data).iter("enc:CipherReference")
    }
    if encrypted.intersection(chapters):
        raise Unreadable(
            Outcome.ENCRYPTED, "is protected against copying (DRM): ingest an edition without protection"
        )


def _names(package: Package, folder: str, items: Mapping[str, Element], book: Element) -> Mapping[str, str]:
    """Return the name of each chapter in the table of contents."""
    spine = book.find("opf:spine")
    contents = items.get("" if spine is None else spine.get("toc", ""))
    found: dict[str, str] = {}
    for item in items.values():
        if "nav" in item.get("properties", "").split():
            path = _path(folder, item.get("href", ""))
            entries = _entries_of_nav(package.read_if_whole(path))
            _collect(found, posixpath.dirname(path), entries)
    if not found and contents is not None:
        path = _path(folder, contents.get("href", ""))
        _collect(found, posixpath.dirname(path), _entries_of_ncx(package.read_if_whole(path)))
    return found


def _collect(found: dict[str, str], folder: str, entries: Iterator[tuple[str, str]]) -> None:
    for href, name in entries:
        name = in_one_line(name)[:MAX_NAME]
        if href and name:
            found.setdefault(_path(folder, href), name)


def _entries_of_nav(markup: bytes) -> Iterator[tuple[str, str]]:
    """Yield the target and the name of each entry of a table of contents of EPUB 3."""
    for nav in LexborHTMLParser(_as_html(markup)).css("nav") if markup else ():
        if nav.attributes.get("epub:type", "toc") == "toc":
            for link in nav.css("a"):
                yield link.attributes.get("href") or "", link.text()


def _entries_of_ncx(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the target and the name of each entry of a table of contents of EPUB 2."""
    try:
        root = read_tree(data, with_doctype=True) if data else None
    except Unreadable:
        return  # the chapters are readable without their names
    for point in root.iter("ncx:navPoint") if root is not None else ():
        content, text = point.find("ncx:content"), first(point, "ncx:text")
        if content is not None and text is not None:
            yield content.get("src", ""), text.text or ""
