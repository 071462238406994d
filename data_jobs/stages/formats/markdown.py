"""Parse Markdown: render the text to HTML and parse the HTML, so that the result is what a reader would see.

Some tags are kept as text (``raw_html``), because these tags would hide the text after them or because HTML
has no such tags. So raw HTML hides no text. Text is kept at any nesting level.
"""

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock, html_block, reference
from markdown_it.token import Token

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.html import read_page
from data_jobs.stages.formats.raw_html import escape_prose
from data_jobs.stages.formats.text import clean

#: Maximum nesting level, because the parser recurses once per level. Deeper text becomes a paragraph that
#: shows the Markdown marks.
MAX_DEPTH = 60
#: Nesting level at which the parser drops text. This level is above ``MAX_DEPTH``, because a nested list adds
#: two levels.
PARSER_MAX_DEPTH = MAX_DEPTH + 10
#: Beginning and end of the blocks of raw HTML that may contain blank lines
#: (https://spec.commonmark.org/0.31.2/#html-blocks).
BLOCK_ENDS = (
    (
        re.compile(r"<(?:script|pre|style|textarea)(?=\s|>|$)", re.IGNORECASE),
        re.compile(r"</(?:script|pre|style|textarea)>", re.IGNORECASE),
    ),
    (re.compile("<!--"), re.compile("-->")),
    (re.compile(r"<\?"), re.compile(r"\?>")),
    (re.compile(r"<!\[CDATA\["), re.compile(r"\]\]>")),
    (re.compile("<![A-Za-z]"), re.compile(">")),
)


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a Markdown file into one page."""
    decoded = decode(data)
    page = read_page(to_html(clean(decoded.text)), hiding=False)
    return ParserOutput(
        pages=[page.text], facts=decoded.facts, unread=decoded.unread, structure=[page.structure]
    )


def to_html(markdown: str) -> str:
    """Render the document as HTML in which no piece of raw HTML hides the text after it."""
    parser = MarkdownIt("commonmark", {"maxNesting": PARSER_MAX_DEPTH}, renderer_cls=_Renderer).enable(
        "table"
    )
    parser.block.ruler.before("table", "deepest", _flatten_deepest)
    parser.block.ruler.at("html_block", _ended_html_block, {"alt": ["paragraph", "reference", "blockquote"]})
    parser.block.ruler.at("reference", _link_definition)
    return str(parser.render(markdown))


class _Renderer(RendererHTML):  # the base class finds the rule of a token by the name of the method
    def html_block(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        return escape_prose(tokens[idx].content, block=True)

    def html_inline(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        return escape_prose(tokens[idx].content, block=False)


def _flatten_deepest(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Make one paragraph of everything below the deepest level. This is a block rule of the Markdown
    parser.
    """
    if state.level < MAX_DEPTH or silent:
        return False
    last = start
    while last < end and (state.isEmpty(last) or state.sCount[last] >= state.blkIndent):
        last += 1
    state.line = last
    state.push("paragraph_open", "p", 1)
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start, last, state.blkIndent, False).strip()
    inline.children = []
    inline.map = [start, last]
    state.push("paragraph_close", "p", -1)
    return True


def _ended_html_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Accept a block of raw HTML, unless its closing sign is missing. Without this sign, the block would hide
    the rest of the document. This is a block rule of the Markdown parser.
    """
    position = state.bMarks[start] + state.tShift[start]
    for opening, closing in BLOCK_ENDS:
        if opening.match(state.src, position, state.eMarks[start]) and not _has_end(state, closing, position):
            return False
    return html_block(state, start, end, silent)


def _has_end(state: StateBlock, closing: re.Pattern[str], position: int) -> bool:
    """Return True if the closing sign occurs after ``position``. The last occurrence of each sign is searched
    for only once.
    """
    last = state.env.setdefault("last", {})
    if closing.pattern not in last:
        last[closing.pattern] = max((found.start() for found in closing.finditer(state.src)), default=-1)
    return bool(last[closing.pattern] > position)


def _link_definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Accept a link definition, which a reader does not see. This is a block rule of the Markdown parser.

    A footnote looks like a link definition, but is not accepted here, so its text is kept.
    """
    position = state.bMarks[start] + state.tShift[start]
    return not state.src.startswith("[^", position) and reference(state, start, end, silent)
