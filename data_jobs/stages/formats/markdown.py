"""Markdown to text: rendered, then read as HTML, so that what is embedded is what a reader would see.

What prose says is text: a tag that would swallow what stands behind it, and a tag that is none of HTML's, are written out
(``raw_html``). Raw HTML hides nothing, and nesting has no limit.
"""

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock, html_block, reference
from markdown_it.token import Token

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.html import to_text
from data_jobs.stages.formats.raw_html import contained
from data_jobs.stages.formats.text import clean

#: The parser recurses for each level; what nests deeper is a paragraph with its marks written out.
DEEPEST = 60
#: The parser's own limit drops text. A list in a list adds two levels at once, so this one is never met.
NEVER_MET = DEEPEST + 10
#: How blocks of raw HTML begin that go on behind a blank line, and what ends them (https://spec.commonmark.org/0.31.2/#html-blocks).
ENDED_BY = (
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
    """One page."""
    decoded = decode(data)
    text, _hidden = to_text(to_html(clean(decoded.text)), hiding=False)
    return ParserOutput(pages=[text], facts=decoded.facts, unread=decoded.unread)


def to_html(markdown: str) -> str:
    """The document as HTML in which no piece of raw HTML takes in the text behind it."""
    parser = MarkdownIt("commonmark", {"maxNesting": NEVER_MET}, renderer_cls=_Renderer).enable("table")
    parser.block.ruler.before("table", "deepest", _deepest)
    parser.block.ruler.at("html_block", _ended_html_block, {"alt": ["paragraph", "reference", "blockquote"]})
    parser.block.ruler.at("reference", _no_footnote)
    return str(parser.render(markdown))


class _Renderer(RendererHTML):  # it finds a token's rule by the name of the method
    def html_block(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        return contained(tokens[idx].content, block=True)

    def html_inline(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        return contained(tokens[idx].content, block=False)


def _deepest(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A block rule: everything below the deepest level is one paragraph."""
    if state.level < DEEPEST or silent:
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
    """A block rule: raw HTML, unless what must end it is missing, so that it would take in the rest of the document."""
    place = state.bMarks[start] + state.tShift[start]
    for opening, closing in ENDED_BY:
        if opening.match(state.src, place, state.eMarks[start]) and not _ends(state, closing, place):
            return False
    return html_block(state, start, end, silent)


def _ends(state: StateBlock, closing: re.Pattern[str], place: int) -> bool:
    """True where the closing sign comes somewhere behind the place. The last one is looked for once."""
    last = state.env.setdefault("last", {})
    if closing.pattern not in last:
        last[closing.pattern] = max((found.start() for found in closing.finditer(state.src)), default=-1)
    return bool(last[closing.pattern] > place)


def _no_footnote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A block rule: a link's definition, which no reader sees; a footnote is read, though it looks the same."""
    place = state.bMarks[start] + state.tShift[start]
    return not state.src.startswith("[^", place) and reference(state, start, end, silent)
