"""Write the main content of a page as minimal HTML: headings, paragraphs, lists, tables and code.

    blocks(content)      # ["<h1>Install</h1>", "<p>Run the command.</p>", "<pre>make up</pre>"]

Attributes, links and styles are left out. Anchors of headings, such as "¶" and "#", are left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from selectolax.lexbor import LexborNode

from data_jobs.stages.formats.html import BLOCKS, PREFORMATTED, SPACED
from data_jobs.stages.formats.text import clean
from data_jobs.stages.formats.web.main_content import HEADINGS, MainContent, walk

#: Elements that are written with a tag, and this tag.
WRITTEN: Mapping[str, str] = {
    **{tag: tag for tag in ("ul", "ol", "li", "dl", "dt", "dd", "table", "caption", "tr", "th", "td")},
    **{tag: tag for tag in ("blockquote", "sub", "sup", "thead", "tbody", "tfoot", *HEADINGS)},
    **{tag: "pre" for tag in PREFORMATTED},
}
#: Elements that are one block with their whole content.
WHOLE = frozenset({"ul", "ol", "dl", "table", "pre", "blockquote", *HEADINGS, *PREFORMATTED})
CELLS = frozenset({"td", "th"})
SPAN = re.compile("[0-9]{1,4}")
#: Text of an anchor of a heading.
ANCHOR_TEXT = re.compile(r"[\s¶#§🔗⚓︎†*]*")
ANCHOR_CLASS = re.compile(
    r"(?:^|[\s_-])(?:header-?link|anchor(?:-?link)?|permalink|mark|headinglink)(?:$|[\s_-])"
)
SPACE = re.compile(r"[ \t\n\f\r]+")


def blocks(content: MainContent) -> list[str]:
    """Return the blocks of the main content in the order of the page. Blocks without text are left out."""
    writer = _BlockWriter(content)
    for node, begins in walk(content.root, content.dropped):
        if node.tag == "-text":
            writer.text(node.text_content or "")
        elif begins:
            writer.begin(node, node.tag or "")
        else:
            writer.end(node, node.tag or "")
    writer.close()
    return writer.blocks


@dataclass(slots=True)
class _BlockWriter:
    """Writes blocks. A block is an element of ``WHOLE``, or a paragraph of the text between such elements."""

    content: MainContent
    blocks: list[str] = field(default_factory=list)
    #: Pieces of the block that is being written.
    parts: list[str] = field(default_factory=list)
    #: Number of open elements of ``WHOLE``.
    whole: int = 0
    preformatted: int = 0
    heading: int = 0
    #: ``mem_id`` of the anchor of a heading that is being left out.
    anchor: int | None = None
    has_text: bool = False
    #: True if the last piece ends with white space.
    spaced: bool = True

    def begin(self, node: LexborNode, tag: str) -> None:
        """Process the start of an element."""
        if self.anchor is not None:
            return
        if tag == "a" and self.heading and _is_anchor(node):
            self.anchor = node.mem_id
            return
        if tag in WHOLE:
            if not self.whole:
                self.close()
            self.whole += 1
            self.preformatted += tag in PREFORMATTED
            self.heading += tag in HEADINGS
        if tag in WRITTEN:
            self._tag(f"<{WRITTEN[tag]}{_spans(node) if tag in CELLS else ''}>", tag)
        elif tag == "br":
            if self.preformatted:
                self._tag("\n", tag)
            elif self.parts and not self.parts[-1].endswith("<br>"):  # write one for several breaks
                self._tag("<br>", tag)
        elif tag == "img":
            self.text(f" {node.attributes.get('alt') or ''} ")
        elif tag in BLOCKS:
            self._separate()
        elif tag in SPACED:
            self.text(" ")

    def end(self, node: LexborNode, tag: str) -> None:
        """Process the end of an element."""
        if self.anchor is not None:
            if node.mem_id == self.anchor:
                self.anchor = None
            return
        if tag in WRITTEN:
            self._tag(f"</{WRITTEN[tag]}>", tag)
        elif tag in BLOCKS:
            self._separate()
        elif tag in SPACED:
            self.text(" ")
        if tag in WHOLE:
            self.whole -= 1
            self.preformatted -= tag in PREFORMATTED
            self.heading -= tag in HEADINGS
            if not self.whole:
                self._finish("", "")

    def text(self, text: str) -> None:
        """Write a text."""
        if self.anchor is not None:
            return
        text = clean(text)
        if not self.preformatted:
            text = SPACE.sub(" ", text)
            if self.spaced:
                text = text.lstrip(" ")
        if text:
            self.parts.append(escape(text, quote=False))
            self.has_text = self.has_text or bool(text.strip())
            self.spaced = text[-1] in " \n"

    def close(self) -> None:
        """End the paragraph that is being written, if there is one."""
        self._finish("<p>", "</p>")

    def _separate(self) -> None:
        """Separate blocks of text: outside the elements of ``WHOLE`` a paragraph ends, inside a line ends."""
        if not self.whole:
            self.close()
        elif self.preformatted:
            if self.parts and not self.parts[-1].endswith(("\n", ">")):
                self.parts.append("\n")
        elif not self.spaced:
            self._tag("<br>" if not self.heading else " ", "br")

    def _tag(self, written: str, tag: str) -> None:
        self.parts.append(written)
        if tag not in {"sub", "sup"}:
            self.spaced = True

    def _finish(self, before: str, after: str) -> None:
        if self.has_text:
            self.blocks.append(before + _tidy("".join(self.parts)) + after)
        self.parts, self.has_text, self.spaced = [], False, True


#: Line breaks at the start and at the end of an element, which do not separate any text.
EDGE_BREAKS = re.compile(
    r"(?: ?<br>)+(?=</?(?:ul|ol|li|dl|dt|dd|table|caption|tr|th|td|thead|tbody|tfoot|blockquote)>)"
)
EMPTY_ITEMS = re.compile(r"<(li|dt|dd|thead|tbody|tfoot|tr|caption)>\s*</\1>")


def _spans(cell: LexborNode) -> str:
    """Return the attributes of a cell that spans several columns or rows."""
    given = ((name, cell.attributes.get(name) or "") for name in ("colspan", "rowspan"))
    return "".join(f' {name}="{value}"' for name, value in given if SPAN.fullmatch(value))


def _tidy(block: str) -> str:
    return EMPTY_ITEMS.sub("", EDGE_BREAKS.sub("", block)).strip(" ")


def _is_anchor(node: LexborNode) -> bool:
    """Return True for a link of a heading to itself, which is not part of the words of the heading."""
    text = node.text(deep=True)
    if ANCHOR_TEXT.fullmatch(text):
        return True
    return len(text.strip()) <= 1 and ANCHOR_CLASS.search(node.attributes.get("class") or "") is not None
