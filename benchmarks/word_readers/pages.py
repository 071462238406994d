"""Readers of PDF, HTML, Markdown and plain text: PDFium, html5lib, mistune, and Python's codecs."""

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element

import html5lib
import mistune
import pypdfium2

SILENT = frozenset(
    {
        "script",
        "style",
        "template",
        "noscript",
        "iframe",
        "noembed",
        "noframes",
        "annotation",
        "annotation-xml",
        "rp",
    }
)
HIDDEN = re.compile(r"(?:^|[;\s])(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
#: Elements whose end does not end a word.
INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q s samp "
    "small span strike strong sub sup time tt u var wbr".split()
)
TABLES = ["table", "strikethrough", "footnotes"]


def read_text(data: bytes, encoding: str) -> str:
    """The text of a file in a known encoding."""
    return data.decode(encoding, "replace")


def read_markdown(data: bytes, encoding: str) -> str:
    """The text of Markdown, by mistune and html5lib."""
    rendered = mistune.create_markdown(escape=False, plugins=TABLES)(data.decode(encoding))
    assert isinstance(rendered, str)
    return visible_text(rendered)


def read_html(data: bytes, encoding: str) -> str:
    """The text of an HTML page, by html5lib."""
    return visible_text(data.decode(encoding, "replace"))


def read_pdf(data: bytes, _: str) -> str:
    """The text of a PDF, by PDFium; "" if PDFium cannot open the file."""
    try:
        with pypdfium2.PdfDocument(data) as document:
            return "\n".join(page.get_textpage().get_text_range() for page in document)
    except pypdfium2.PdfiumError:
        return ""


def visible_text(markup: str) -> str:
    """The text of HTML that a reader sees, by html5lib."""
    root = html5lib.parse(markup, treebuilder="etree", namespaceHTMLElements=False)
    return "".join(_visible(root))


def _visible(root: Element) -> Iterable[str]:
    waiting: list[Element | str] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
            continue
        tag = (
            node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
        )  # the tag of a comment is a function
        after = [node.tail or ""]
        shown = (
            tag
            and tag not in SILENT
            and "hidden" not in node.attrib
            and not HIDDEN.search(node.attrib.get("style", ""))
        )
        if shown:
            edge = "" if tag in INLINE else "\n"
            yield edge + node.attrib.get("alt", "") * (tag == "img") + (node.text or "")
            after.insert(0, edge)
            waiting += [*reversed(after), *reversed(node)]
        else:
            waiting += reversed(after)
