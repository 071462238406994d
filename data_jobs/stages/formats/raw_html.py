"""Escape the parts of Markdown that are prose but that an HTML parser would read as markup.

escape_prose("Use <script> for List<String>", block=False)    # "Use &lt;script&gt; for List&lt;String&gt;"
"""

import re
from html import escape

from data_jobs.stages.formats.html import SILENT

#: Elements that hide all the text after them if they are not closed. GitHub escapes most of these elements,
#: too.
SWALLOWING = SILENT | {"title", "textarea", "xmp", "plaintext", "frameset"}
#: The elements of https://html.spec.whatwg.org/multipage/indices.html#elements-3, the obsolete elements, and
#: the most common elements of SVG and MathML.
KNOWN_ELEMENTS = frozenset(
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big "
    "blink blockquote body br button canvas caption center cite code col colgroup data datalist dd "
    "del details dfn dialog dir div dl dt em embed fieldset figcaption figure font footer form "
    "frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins kbd keygen "
    "label legend li link listing main map mark marquee math menu menuitem meta meter nav nobr "
    "noembed noframes noscript object ol optgroup option output p param picture plaintext pre "
    "progress q rb rp rt rtc ruby s samp script search section select slot small source span strike "
    "strong style sub summary sup svg table tbody td template textarea tfoot th thead time title tr "
    "track tt u ul var video wbr xmp annotation circle defs ellipse g line mfrac mi mn mo mrow "
    "msqrt msub msup path polygon polyline rect text tspan use".split()
)
TAG = re.compile(
    r"""</?([a-z][a-z0-9-]*)((?:\s+[a-z_:][\w:.-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*)\s*/?>""",
    re.IGNORECASE,
)
#: Opening and closing of markup that is not an element. Comments are removed; the other markup stays as text.
COMMENT = ("<!--", "-->")
OTHER_MARKUP = (("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">"))


def escape_prose(markup: str, *, block: bool) -> str:
    """Escape each piece of the markup that is not HTML or that would hide the text after the piece. Remove
    comments, and unknown tags with attributes.

    Args:
        markup: raw HTML that the Markdown parser found.
        block: True for a block of HTML. A complete script or similar element of a block is not escaped, so
            the HTML parser leaves out the text of the element. False for HTML in a line of prose, in which
            the tags of these elements are escaped.
    """
    return _ProseEscaper(markup, block=block).escaped()


class _ProseEscaper:
    """Escapes prose in one pass over the markup. If a closing mark is missing, the rest of the markup is
    searched for the mark only once.
    """

    def __init__(self, markup: str, *, block: bool) -> None:
        self._markup, self._lower, self._block = markup, markup.lower(), block
        self._absent: set[str] = set()

    def escaped(self) -> str:
        """Return the escaped markup."""
        parts, position = [], 0
        while (start := self._markup.find("<", position)) >= 0:
            piece, end = self._piece(start)
            parts += [self._markup[position:start], piece]
            position = end
        return "".join([*parts, self._markup[position:]])

    def _piece(self, start: int) -> tuple[str, int]:
        """Return the replacement for the markup that begins at ``start``, and the end of that markup."""
        opening, closing = COMMENT
        if self._markup.startswith(opening, start) and (end := self._end_of(closing, start + 2)):
            return "", end
        if tag := TAG.match(self._markup, start):
            return self._tag(tag)
        for opening, closing in OTHER_MARKUP:
            if self._markup.startswith(opening, start) and (
                end := self._end_of(closing, start + len(opening))
            ):
                return escape(self._markup[start:end]), end
        return "&lt;", start + 1

    def _tag(self, tag: re.Match[str]) -> tuple[str, int]:
        name, attributes = tag[1].lower(), tag[2].strip()
        if name in SWALLOWING:
            whole = self._block and tag[0][1] != "/" and self._end_of(f"</{name}", tag.end())
            end = whole and self._end_of(">", whole)
            return (self._markup[tag.start() : end], end) if end else (escape(tag[0]), tag.end())
        if name not in KNOWN_ELEMENTS:
            return ("" if attributes else escape(tag[0])), tag.end()
        return tag[0], tag.end()

    def _end_of(self, closing: str, start: int) -> int:
        """Return the end of the next ``closing``; 0 if the rest of the markup has none."""
        if closing in self._absent:
            return 0
        found = self._lower.find(closing.lower(), start)
        if found < 0:
            self._absent.add(closing)
            return 0
        return found + len(closing)
