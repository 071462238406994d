"""HTML to text: what a reader would see, block by block; nothing is fetched, no script is run.

Lexbor builds the tree as HTML5 prescribes, so unclosed and misplaced tags nest as they do in a browser, to any depth.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from cluster.records import Fact
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.text import clean

#: Elements whose text no reader sees: code, what waits for a script, what stands in for scripts and frames, formulas' source.
SILENT = frozenset(
    "script style template noscript iframe noembed noframes rp annotation annotation-xml -comment -doctype".split()
)
#: Elements that stand on lines of their own.
BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 head header hgroup hr legend li listing main menu nav ol optgroup option p plaintext pre search section "
    "select summary table tbody td textarea tfoot th thead title tr ul xmp text".split()
)
#: Inline elements that divide words: pictures and controls, readings of ruby, the parts of a formula.
SPACED = frozenset(
    "audio button canvas embed img input math meter mi mn mo ms mtext object progress rt svg video".split()
)
LINE_BREAK, PICTURE, RAISED = "br", "img", "sup"
PREFORMATTED = frozenset({"listing", "plaintext", "pre", "textarea", "xmp"})
MARKED = BLOCKS | SPACED | PREFORMATTED | {LINE_BREAK, PICTURE, RAISED}
SPACE = re.compile(r"[ \t\n\f]+")
#: A document without these hides nothing by itself.
STYLED = re.compile(
    r"""\shidden(?=[\s=/>])|\sstyle\s*=\s*["']?[^"'>]{0,300}(?:display|visibility)\s*:""", re.IGNORECASE
)
DECLARATION = re.compile(r"(?:^|[;\s])(display|visibility)\s*:\s*([a-z-]+)", re.IGNORECASE)


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """One page."""
    decoded = decode(data)
    text, hidden = to_text(decoded.text)
    facts = decoded.facts | ({Fact.HIDDEN_CHARACTERS: hidden} if hidden else {})
    return ParserOutput(pages=[text], facts=facts, unread=decoded.unread)


def to_text(markup: str, *, hiding: bool = True) -> tuple[str, int]:
    """The text of a document or a fragment, its blocks a blank line apart; and how many characters it hides.

    Args:
        markup: the document.
        hiding: leave out what ``hidden``, ``display: none`` and ``visibility: hidden`` on an element hide.

    Raises:
        MemoryError: the tree does not fit into the memory of the process.
    """
    markup = clean(markup)
    try:
        root = LexborHTMLParser(markup).root
    except SelectolaxError as exc:  # Lexbor refuses no markup: it fails only where it gets no memory
        raise MemoryError(str(exc)) from exc
    walk = _Walk(styled=hiding and STYLED.search(markup) is not None)
    if root is not None:
        walk.through(root)
    blocks = "".join(walk.parts).split("\0")
    lines = (block.strip("\n") if "\n" in block else block.strip() for block in blocks)
    return clean("\n\n".join(line for line in lines if line.strip())), walk.hidden


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """How an element shows its text; its children inherit it."""

    #: False inside ``display: none``, whatever the children say.
    displayed: bool = True
    #: False under ``visibility: hidden``; a child may be visible again.
    visible: bool = True
    preformatted: bool = False


@dataclass(kw_only=True, slots=True)
class _Walk:
    """A walk through the tree in document order. It recurses nowhere: nesting may be deep."""

    #: True where elements may hide themselves, so that their attributes are read.
    styled: bool
    #: Text, with NUL between blocks.
    parts: list[str] = field(default_factory=lambda: ["\0"])
    #: Characters of text that the document hides, runs of space counted once.
    hidden: int = 0

    def through(self, root: LexborNode) -> None:
        """Collect the text under ``root``."""
        node: LexborNode | None = root
        look = _Look()
        above: list[
            tuple[LexborNode, _Look, str]
        ] = []  # the open elements: each with its parent's look, and what ends it
        while node is not None:
            child = None
            tag = node.tag
            if tag == "-text":
                self._text(node.text_content or "", look)
            elif tag is not None and tag not in SILENT:
                inner, edge = self._enter(node, tag, look) if tag in MARKED or self.styled else (look, "")
                child = node.first_child
                if child is not None:
                    above.append((node, look, edge))
                    look = inner
                else:
                    self._divide(edge)
            following = child or node.next
            while following is None and above:
                node, look, edge = above.pop()
                self._divide(edge)
                following = node.next if above else None
            node = following

    def _enter(self, node: LexborNode, tag: str, look: _Look) -> tuple[_Look, str]:
        """The look of what is inside, and what divides the element from its surroundings."""
        edge = "\0" if tag in BLOCKS else " " if tag in SPACED else ""
        if tag in PREFORMATTED:
            look = _Look(displayed=look.displayed, visible=look.visible, preformatted=True)
        if self.styled:
            look, edge = _styled(node.attributes, look, edge)
        self._divide(edge)
        if tag == RAISED:
            edge = self._raise(node)
        if tag == LINE_BREAK:
            self._text("\n" if look.preformatted else " ", look)
        elif tag == PICTURE:
            self._text(node.attributes.get("alt") or "", look)
        return look, edge

    def _raise(self, node: LexborNode) -> str:
        """Keep a note's mark apart from its word, and a power from its base; ordinals (1st) and units (m2) stay whole."""
        if node.first_child is not None and node.first_child.tag == "a":
            self._divide(" ")
            return " "
        if self.parts[-1][-1].isdigit() and node.text().lstrip("-−+")[:1].isdigit():
            self.parts.append("^")
        return ""

    def _divide(self, edge: str) -> None:
        if edge and self.parts[-1][-1] not in edge + "\0":
            self.parts.append(edge)

    def _text(self, text: str, look: _Look) -> None:
        if not look.preformatted:
            text = SPACE.sub(" ", text)
        if not (look.displayed and look.visible):
            self.hidden += len(text.strip())
            return
        if not look.preformatted and text.startswith(" ") and self.parts[-1].endswith(" "):
            text = text[1:]
        if text:
            self.parts.append(text)


def _styled(attributes: Mapping[str, str | None], look: _Look, edge: str) -> tuple[_Look, str]:
    displayed, visible = look.displayed, look.visible
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        displayed = False
    for name, value in DECLARATION.findall(attributes.get("style") or ""):
        if name.lower() == "visibility":
            visible = value.lower() == "visible"
        elif value.lower() == "none":
            displayed = False
        elif not value.lower().startswith(("inline", "contents")):
            edge = "\0"
    return _Look(displayed=displayed, visible=visible, preformatted=look.preformatted), edge
