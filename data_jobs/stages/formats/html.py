"""HTML to text: what a reader would see, block by block; nothing is fetched, no script is run."""

import re

import lxml.html
from lxml import etree

from data_jobs.stages.formats.reading import Reading
from data_jobs.stages.formats.text import clean, decode

#: Elements whose text nobody reads.
SILENT = frozenset({"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select", "textarea"})
#: Elements that stand on lines of their own.
BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section summary table tbody td tfoot th thead title tr ul".split()
)
SPACE = re.compile(r"[ \t\n\f]+")


def parse(data: bytes) -> Reading:
    """One page."""
    return Reading(pages=[to_text(decode(data))])


def to_text(markup: str) -> str:
    """The text of a document or a fragment; blocks are a blank line apart. Markup that cannot be read gives no text."""
    parser = lxml.html.HTMLParser(remove_comments=True, remove_pis=True, no_network=True, huge_tree=False)
    # An XML declaration with an encoding is refused in a string, and says nothing any more.
    markup = re.sub(r"^\s*<\?xml[^>]*>", "", clean(markup))
    try:
        root = lxml.html.document_fromstring(markup, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return ""
    parts: list[str] = []
    _collect(root, parts)
    blocks = ("".join(parts)).split("\0")
    lines = (block.strip("\n") if "\n" in block else block.strip() for block in blocks)
    return "\n\n".join(line for line in lines if line.strip())


def _collect(root: lxml.html.HtmlElement, parts: list[str]) -> None:
    """Text in document order, NUL between blocks. Walks events, not calls: nesting may be deep."""
    silent = preformatted = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        name = element.tag
        entering = event == "start"
        silent += (1 if entering else -1) * (name in SILENT)
        preformatted += (1 if entering else -1) * (name == "pre")
        if name in BLOCKS:
            parts.append("\0")
        elif entering and name == "br":
            parts.append("\n" if preformatted else " ")
        text = element.text if entering else element.tail  # a tail stands behind its element, outside it
        if text and not silent:
            parts.append(text if preformatted else SPACE.sub(" ", text))
