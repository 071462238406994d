"""Parse HTML into the text that a reader would see, block by block. Nothing is fetched, and no script runs.

Lexbor builds the tree as HTML5 prescribes, so unclosed and misplaced tags nest the same way as in a browser,
to any depth.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from cluster.records import Fact
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
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
    text, hidden = to_text(decoded.text)
    facts = decoded.facts | ({Fact.HIDDEN_CHARACTERS: hidden} if hidden else {})
    return ParserOutput(pages=[text], facts=facts, unread=decoded.unread)


def to_text(markup: str, *, hiding: bool = True) -> tuple[str, int]:
    """Return the text of a document or a fragment, and the number of hidden characters.

    Blocks of text are separated by a blank line.

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
    blocks = "".join(walker.parts).split("\0")
    lines = (block.strip("\n") if "\n" in block else block.strip() for block in blocks)
    return clean("\n\n".join(line for line in lines if line.strip())), walker.hidden


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
    #: Number of characters that the document hides. Consecutive spaces count as one character.
    hidden: int = 0

    def walk(self, root: LexborNode) -> None:
        """Collect the text under ``root``."""
        node: LexborNode | None = root
        style = _Style()
        # The open elements, each with the style of its parent, and the separator to write at its end.
        above: list[tuple[LexborNode, _Style, str]] = []
        while node is not None:
            child = None
            tag = node.tag
            if tag == "-text":
                self._text(node.text_content or "", style)
            elif tag is not None and tag not in SILENT:
                inner, separator = (
                    self._enter(node, tag, style) if tag in MARKED or self.styled else (style, "")
                )
                child = node.first_child
                if child is not None:
                    above.append((node, style, separator))
                    style = inner
                else:
                    self._separate(separator)
            following = child or node.next
            while following is None and above:
                node, style, separator = above.pop()
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
