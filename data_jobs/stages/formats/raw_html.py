"""HTML inside Markdown, made harmless: what prose says stays text, whatever it looks like to an HTML parser.

contained("Use <script> for List<String>", block=False)    # "Use &lt;script&gt; for List&lt;String&gt;"
"""

import re
from html import escape

from data_jobs.stages.formats.html import SILENT

#: Left open, these take in all that follows as something that is no markup, or no text (GitHub escapes most of them, too).
SWALLOWING = SILENT | {"title", "textarea", "xmp", "plaintext", "frameset"}
#: https://html.spec.whatwg.org/multipage/indices.html#elements-3, its obsolete ones, and the commonest of SVG and MathML.
KNOWN = frozenset(
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink blockquote body br button canvas "
    "caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl dt em embed fieldset figcaption figure "
    "font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins kbd keygen label legend li "
    "link listing main map mark marquee math menu menuitem meta meter nav nobr noembed noframes noscript object ol optgroup option "
    "output p param picture plaintext pre progress q rb rp rt rtc ruby s samp script search section select slot small source span "
    "strike strong style sub summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul var video "
    "wbr xmp annotation circle defs ellipse g line mfrac mi mn mo mrow msqrt msub msup path polygon polyline rect text tspan use".split()
)
TAG = re.compile(
    r"""</?([a-z][a-z0-9-]*)((?:\s+[a-z_:][\w:.-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*)\s*/?>""",
    re.IGNORECASE,
)
#: What is no element, and what ends it. Only a comment is no text.
COMMENT = ("<!--", "-->")
OTHERS = (("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">"))


def contained(markup: str, *, block: bool) -> str:
    """The markup, with everything written out that would take in text behind it, or that is no HTML.

    Args:
        markup: raw HTML as Markdown's parser found it.
        block: whole scripts and the like are kept for the HTML parser to leave out; in a line of prose they are prose.
    """
    return _Scan(markup, block=block).through()


class _Scan:
    """One pass over the markup; what is missing from one place on is never looked for again."""

    def __init__(self, markup: str, *, block: bool) -> None:
        self._markup, self._lower, self._block = markup, markup.lower(), block
        self._absent: set[str] = set()

    def through(self) -> str:
        """The markup made harmless."""
        parts, place = [], 0
        while (start := self._markup.find("<", place)) >= 0:
            piece, end = self._piece(start)
            parts += [self._markup[place:start], piece]
            place = end
        return "".join([*parts, self._markup[place:]])

    def _piece(self, start: int) -> tuple[str, int]:
        """What stands for the piece of markup that begins here, and where it ends."""
        opening, closing = COMMENT
        if self._markup.startswith(opening, start) and (end := self._behind(closing, start + 2)):
            return "", end
        if tag := TAG.match(self._markup, start):
            return self._tag(tag)
        for opening, closing in OTHERS:
            if self._markup.startswith(opening, start) and (
                end := self._behind(closing, start + len(opening))
            ):
                return escape(self._markup[start:end]), end
        return "&lt;", start + 1

    def _tag(self, tag: re.Match[str]) -> tuple[str, int]:
        name, attributes = tag[1].lower(), tag[2].strip()
        if name in SWALLOWING:
            whole = self._block and tag[0][1] != "/" and self._behind(f"</{name}", tag.end())
            end = whole and self._behind(">", whole)
            return (self._markup[tag.start() : end], end) if end else (escape(tag[0]), tag.end())
        if name not in KNOWN:
            return ("" if attributes else escape(tag[0])), tag.end()
        return tag[0], tag.end()

    def _behind(self, closing: str, start: int) -> int:
        """Where the next ``closing`` ends; 0 where there is none."""
        if closing in self._absent:
            return 0
        found = self._lower.find(closing.lower(), start)
        if found < 0:
            self._absent.add(closing)
            return 0
        return found + len(closing)
