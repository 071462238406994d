"""Parse HTML into the text that a reader would see, block by block, with headings, tables and code as the
structure of the page. Nothing is fetched, and no script runs.

Lexbor builds the tree as HTML5 prescribes, so unclosed and misplaced tags nest the same way as in a browser,
to any depth.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from cluster.page_structure import PROSE, Block, BlockKind, PageStructure
from cluster.records import Fact
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.html_tables import SpannedCell, grid, rows_of, spans
from data_jobs.stages.formats.page_builder import BLANK_LINE, PageBuilder
from data_jobs.stages.formats.text import clean

#: Elements whose text a reader does not see: code, templates, the fallbacks of scripts and frames, the source
#: of formulas.
SILENT = frozenset(
    "script style template noscript iframe noembed noframes rp annotation annotation-xml -comment "
    "-doctype".split()
)
#: Elements that begin on a new line.
BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hgroup hr legend li listing main "
    "menu nav ol optgroup option p plaintext pre search section select summary table tbody td "
    "textarea tfoot th thead title tr ul xmp text".split()
)
#: Inline elements that separate words: pictures, controls, ruby text, the parts of a formula.
SPACED = frozenset(
    "audio button canvas embed img input math meter mi mn mo ms mtext object progress rt svg video".split()
)
LINE_BREAK, PICTURE, RAISED = "br", "img", "sup"
TABLE = "table"
#: Elements that are blocks of the structure.
HEADINGS, CODE = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"}), frozenset({"pre", "listing"})
KEPT = HEADINGS | CODE
#: Maximum number of characters of a cell of data. A table with a longer cell arranges parts of the page.
MOST_CELL_CHARACTERS = 1_000
PREFORMATTED = frozenset({"listing", "plaintext", "pre", "textarea", "xmp"})
MARKED = BLOCKS | SPACED | PREFORMATTED | {LINE_BREAK, PICTURE, RAISED}
SPACE = re.compile(r"[ \t\n\f]+")
#: Attributes that can hide an element.
STYLED = re.compile(
    r"""\shidden(?=[\s=/>])|\sstyle\s*=\s*["']?[^"'>]{0,300}(?:display|visibility)\s*:""", re.IGNORECASE
)
DECLARATION = re.compile(r"(?:^|[;\s])(display|visibility)\s*:\s*([a-z-]+)", re.IGNORECASE)


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse an HTML file into one page."""
    decoded = decode(data)
    page = read_page(decoded.text)
    facts = decoded.facts | ({Fact.HIDDEN_CHARACTERS: page.hidden} if page.hidden else {})
    return ParserOutput(pages=[page.text], facts=facts, unread=decoded.unread, structure=[page.structure])


@dataclass(frozen=True, kw_only=True, slots=True)
class HtmlPage:
    """The text of an HTML document."""

    text: str
    structure: PageStructure
    #: Number of characters that the document hides. Consecutive spaces count as one character.
    hidden: int


def read_page(markup: str, *, hiding: bool = True) -> HtmlPage:
    """Return the text of a document or a fragment, and the structure of the text.

    Blocks of text are separated by a blank line. A table of data has one line for each row.

    Args:
        markup: the document.
        hiding: True to leave out the text that ``hidden``, ``display: none`` or ``visibility: hidden`` on an
            element hides.

    Raises:
        MemoryError: the tree does not fit into the memory of the process.
    """
    markup = clean(markup)
    try:
        root = LexborHTMLParser(markup).root
    except SelectolaxError as exc:  # Lexbor accepts any markup and fails only for lack of memory
        raise MemoryError(str(exc)) from exc
    walker = _TreeWalker(styled=hiding and STYLED.search(markup) is not None)
    if root is not None:
        walker.walk(root)
    text, blocks = _joined(walker)
    cleaned = clean(text)
    # Entities may be control characters. If cleaning moves characters, the places of the blocks are wrong.
    structure = PageStructure(blocks=blocks) if cleaned == text else PROSE
    return HtmlPage(text=cleaned, structure=structure, hidden=walker.hidden)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A range of parts of a ``_TreeWalker`` that is a block of the structure.

    The offsets of ``block`` count from the beginning of the text of these parts.
    """

    first: int
    end: int
    block: Block


def _joined(walker: "_TreeWalker") -> tuple[str, tuple[Block, ...]]:
    """Join the parts of the walker. Return the text, and the blocks of its structure."""
    texts: list[str] = []
    blocks: list[Block] = []
    kept = iter(sorted(walker.kept, key=lambda one: one.first))
    current = next(kept, None)
    length = first = 0
    for number, part in enumerate([*walker.parts, "\0"]):
        if part != "\0":
            continue
        text = "".join(walker.parts[first:number])
        text = text.strip("\n") if "\n" in text else text.strip()
        while current is not None and current.end <= first:
            current = next(kept, None)
        if text.strip():
            start = length + len(BLANK_LINE) * bool(texts)
            length = start + len(text)
            if current is not None and current.first <= first:
                block = current.block
                body = start + block.body if block.kind is BlockKind.TABLE else 0
                blocks.append(replace(block, start=start, end=length, body=body))
            texts.append(text)
        first = number + 1
    return BLANK_LINE.join(texts), tuple(blocks)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Style:
    """Says how an element shows its text. The children of the element inherit the style."""

    #: False inside ``display: none``, which a child cannot undo.
    displayed: bool = True
    #: False inside ``visibility: hidden``, which a child can undo.
    visible: bool = True
    preformatted: bool = False


@dataclass(kw_only=True, slots=True)
class _TreeWalker:
    """Collects the text of a tree in document order, without recursion, because nesting may be deep."""

    #: True if the document may have hidden elements. Only then are the attributes of elements read.
    styled: bool
    #: Pieces of text; NUL separates blocks.
    parts: list[str] = field(default_factory=lambda: ["\0"])
    #: The blocks of the structure.
    kept: list[_Kept] = field(default_factory=list)
    hidden: int = 0

    def walk(self, root: LexborNode, style: _Style = _Style()) -> None:
        """Collect the text under ``root``; ``style`` is the style of the elements around ``root``."""
        node: LexborNode | None = root
        # The open elements, each with the style of its parent, the separator to write at its end, and the
        # number of its first part.
        above: list[tuple[LexborNode, _Style, str, int]] = []
        while node is not None:
            child = None
            tag = node.tag
            if tag == "-text":
                self._text(node.text_content or "", style)
            elif tag == TABLE and self._table(node, style):
                pass
            elif tag is not None and tag not in SILENT:
                inner, separator = (
                    self._enter(node, tag, style) if tag in MARKED or self.styled else (style, "")
                )
                child = node.first_child
                if child is not None:
                    above.append((node, style, separator, len(self.parts)))
                    style = inner
                else:
                    self._separate(separator)
            following = child or node.next
            while following is None and above:
                node, style, separator, first = above.pop()
                self._keep(node.tag, first)
                self._separate(separator)
                following = node.next if above else None
            node = following

    def _enter(self, node: LexborNode, tag: str, style: _Style) -> tuple[_Style, str]:
        """Process the start of an element. Return the style of the element's content, and the separator to
        write at the end of the element.
        """
        separator = "\0" if tag in BLOCKS else " " if tag in SPACED else ""
        if tag in PREFORMATTED:
            style = _Style(displayed=style.displayed, visible=style.visible, preformatted=True)
        if self.styled:
            style, separator = _apply_attributes(node.attributes, style, separator)
        self._separate(separator)
        if tag == RAISED:
            separator = self._raise(node)
        if tag == LINE_BREAK:
            self._text("\n" if style.preformatted else " ", style)
        elif tag == PICTURE:
            self._text(node.attributes.get("alt") or "", style)
        return style, separator

    def _keep(self, tag: str | None, first: int) -> None:
        """If the element is a heading or code, keep the parts from ``first`` on as a block."""
        if tag in KEPT and len(self.parts) > first:
            kind = BlockKind.CODE if tag in CODE else BlockKind.HEADING
            level = int(tag[1]) if kind is BlockKind.HEADING else 0
            self.kept.append(_Kept(first, len(self.parts), Block(kind=kind, start=0, end=0, level=level)))

    def _table(self, table: LexborNode, style: _Style) -> bool:
        """Write the table as one line for each row, with its caption before it. Return False, and write
        nothing, if the table only arranges parts of the page.
        """
        rows = rows_of(table)
        if rows is None:
            return False
        if self.styled:
            style, _ = _apply_attributes(table.attributes, style, "")
        inner = _TreeWalker(styled=self.styled)
        cells = [[inner.cell(row.nodes, cell, style) for cell in row.cells] for row in rows]
        shown = [any(cell.text for cell in line) for line in cells]
        texts = grid(cells)
        longest = max((len(cell.text) for line in cells for cell in line), default=0)
        if texts is None or longest > MOST_CELL_CHARACTERS or not any(shown):
            return False
        self.hidden += inner.hidden
        header = rows[shown.index(True)].is_header
        page = PageBuilder()
        page.table([line for line, is_shown in zip(texts, shown, strict=True) if is_shown], header=header)
        (block,) = page.structure().blocks
        self._captions(table, style)
        self._separate("\0")
        self.kept.append(_Kept(len(self.parts), len(self.parts) + 1, block))
        self.parts.append(page.text())
        self._separate("\0")
        return True

    def _captions(self, table: LexborNode, style: _Style) -> None:
        child = table.first_child
        while child is not None:
            if child.tag == "caption":
                self.walk(child, style)
            child = child.next

    def cell(self, around: Sequence[LexborNode], cell: LexborNode, style: _Style) -> SpannedCell:
        """Return the text of a cell in one line; ``around`` are the section and the row of the cell."""
        if self.styled:
            for node in around:
                style, _ = _apply_attributes(node.attributes, style, "")
        self.parts = ["\0"]
        self.walk(cell, style)
        text = " ".join("".join(self.parts).replace("\0", " ").split())
        return SpannedCell(text, *spans(cell))

    def _raise(self, node: LexborNode) -> str:
        """Separate raised text from the text before it, if the raised text is a note mark or an exponent.
        Ordinals (1st) and units (m2) stay joined. Return the separator to write at the end of the element.
        """
        if node.first_child is not None and node.first_child.tag == "a":
            self._separate(" ")
            return " "
        if self.parts[-1][-1].isdigit() and node.text().lstrip("-−+")[:1].isdigit():
            self.parts.append("^")
        return ""

    def _separate(self, separator: str) -> None:
        if separator and self.parts[-1][-1] not in separator + "\0":
            self.parts.append(separator)

    def _text(self, text: str, style: _Style) -> None:
        if not style.preformatted:
            text = SPACE.sub(" ", text)
        if not (style.displayed and style.visible):
            self.hidden += len(text.strip())
            return
        if not style.preformatted and text.startswith(" ") and self.parts[-1].endswith(" "):
            text = text[1:]
        if text:
            self.parts.append(text)


def _apply_attributes(
    attributes: Mapping[str, str | None], style: _Style, separator: str
) -> tuple[_Style, str]:
    displayed, visible = style.displayed, style.visible
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        displayed = False
    for name, value in DECLARATION.findall(attributes.get("style") or ""):
        if name.lower() == "visibility":
            visible = value.lower() == "visible"
        elif value.lower() == "none":
            displayed = False
        elif not value.lower().startswith(("inline", "contents")):
            separator = "\0"
    return _Style(displayed=displayed, visible=visible, preformatted=style.preformatted), separator
