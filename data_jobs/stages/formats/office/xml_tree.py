"""Read the XML of an untrusted document into a tree with short names.

    root = read_tree(package.read("word/document.xml"))
    root.tag, root[0].tag       # "w:document", "w:body"

A document type definition is refused, so no entity is ever declared, expanded or fetched. The parser is
Python's own expat. The parser builds no tree deeper than ``MAX_DEPTH``, so code may walk a tree by recursion.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from cluster.records import Outcome
from data_jobs.stages.formats.contract import Unreadable

#: Maximum depth of elements. Word nests about ten levels for a paragraph in a cell, and about ten more for a
#: text box in the paragraph.
MAX_DEPTH = 200
#: The declaration of an entity.
ENTITY = b"<!ENTITY"
OFFICE = "http://schemas.openxmlformats.org/"
STRICT = "http://purl.oclc.org/ooxml/"
OPEN_DOCUMENT = "urn:oasis:names:tc:opendocument:xmlns:"
#: The short prefix of each namespace. Names of other namespaces keep the form ``{namespace}name``.
PREFIXES = {
    f"{OFFICE}wordprocessingml/2006/main": "w",
    f"{STRICT}wordprocessingml/main": "w",
    f"{OFFICE}spreadsheetml/2006/main": "x",
    f"{STRICT}spreadsheetml/main": "x",
    f"{OFFICE}presentationml/2006/main": "p",
    f"{STRICT}presentationml/main": "p",
    f"{OFFICE}drawingml/2006/main": "a",
    f"{STRICT}drawingml/main": "a",
    f"{OFFICE}drawingml/2006/chart": "c",
    f"{STRICT}drawingml/chart": "c",
    f"{OFFICE}drawingml/2006/diagram": "dgm",
    f"{STRICT}drawingml/diagram": "dgm",
    f"{OFFICE}drawingml/2006/wordprocessingDrawing": "wp",
    f"{STRICT}drawingml/wordprocessingDrawing": "wp",
    f"{OFFICE}officeDocument/2006/relationships": "r",
    f"{STRICT}officeDocument/relationships": "r",
    f"{OFFICE}officeDocument/2006/math": "m",
    f"{STRICT}officeDocument/math": "m",
    f"{OFFICE}markup-compatibility/2006": "mc",
    f"{OFFICE}package/2006/relationships": "rel",
    "http://schemas.microsoft.com/office/word/2010/wordprocessingShape": "wps",
    "urn:schemas-microsoft-com:vml": "v",
    **{f"{OPEN_DOCUMENT}{name}:1.0": name for name in ("office", "text", "table", "style", "manifest")},
    f"{OPEN_DOCUMENT}drawing:1.0": "draw",
    f"{OPEN_DOCUMENT}presentation:1.0": "presentation",
    f"{OPEN_DOCUMENT}datastyle:1.0": "number",
    f"{OPEN_DOCUMENT}svg-compatible:1.0": "svg",
    "http://www.w3.org/1999/xlink": "xlink",
    "http://www.idpf.org/2007/opf": "opf",
    "http://www.idpf.org/2007/ops": "epub",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://www.daisy.org/z3986/2005/ncx/": "ncx",
    "urn:oasis:names:tc:opendocument:xmlns:container": "container",
    "http://www.w3.org/2001/04/xmlenc#": "enc",
}


def read_tree(data: bytes, *, with_doctype: bool = False) -> Element:
    """Return the root element of a part.

    Args:
        data: the bytes of the part.
        with_doctype: True to accept a reference to a document type definition, which old e-books have. The
            definition is not read, and the part must not declare entities.

    Raises:
        Unreadable: the part is not well-formed, has a document type definition that is not accepted, declares
            entities, or nests too deeply.
    """
    if with_doctype and ENTITY in data.replace(b"\0", b""):  # UTF-16 has a NUL between two letters
        raise Unreadable(Outcome.CORRUPT, "declares entities in its XML, which no e-book needs")
    parser = XMLParser(target=_ShortNames(with_doctype=with_doctype))  # noqa: S314  see the module's docstring
    try:
        parser.feed(data)
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError) as exc:
        raise Unreadable(Outcome.CORRUPT, f"is damaged: its XML cannot be read ({exc})") from exc
    return root


def short_name(name: str) -> str:
    """Return ``{namespace}name`` with the prefix of the namespace, such as "w:p"."""
    if name[0] != "{":
        return name
    namespace, _, local = name[1:].partition("}")
    prefix = PREFIXES.get(namespace)
    return name if prefix is None else f"{prefix}:{local}"


def first(element: Element, tag: str) -> Element | None:
    """Return the first element with this tag under ``element``, at any depth."""
    return next(element.iter(tag), None)


def children(element: Element | None, parent: str, tag: str) -> Iterator[Element]:
    """Yield the elements with this tag directly under the child ``parent`` of ``element``."""
    found = None if element is None else element.find(parent)
    return iter(() if found is None else found.findall(tag))


def texts(element: Element, tag: str) -> Iterator[str]:
    """Yield the text of each element with this tag under ``element``, in document order."""
    return (found.text or "" for found in element.iter(tag))


def doctype_refused() -> Unreadable:
    """Return the error about a part that has a document type definition."""
    return Unreadable(
        Outcome.CORRUPT, "has a document type definition in its XML, which no office program writes"
    )


class _ShortNames(TreeBuilder):
    """Builds a tree with short names, and refuses documents that no office program writes."""

    def __init__(self, *, with_doctype: bool) -> None:
        super().__init__()
        self._with_doctype = with_doctype
        self._depth = 0
        self._names: dict[str, str] = {}

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        """Open an element."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable(
                Outcome.CORRUPT, f"is damaged: its XML nests more than {MAX_DEPTH} elements in each other"
            )
        names = self._names
        try:
            short = names[tag]
        except KeyError:
            short = names[tag] = short_name(tag)
        if attrs:
            attrs = {self._attribute(name): value for name, value in attrs.items()}
        return super().start(short, attrs)

    def end(self, tag: str, /) -> Element:
        """Close an element."""
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *_: str | None) -> None:
        """Refuse a document type definition, unless ``with_doctype`` is True."""
        if not self._with_doctype:
            raise doctype_refused()

    def _attribute(self, name: str) -> str:
        try:
            return self._names[name]
        except KeyError:
            short = self._names[name] = short_name(name)
            return short
