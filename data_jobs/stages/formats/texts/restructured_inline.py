"""Remove the inline marks of reStructuredText, so that the text is what a reader would see.

plain("See :class:`~birds.Heron` and ``a * b``, or `the guide <https://example.org>`_.", {})
# "See Heron and a * b, or the guide."
"""

import re
from collections.abc import Mapping

#: Maximum length of a paragraph whose marks are removed, because the patterns need quadratic time.
MAX_PARAGRAPH = 5_000
MARKS = re.compile(
    r"``(?P<literal>[^`].*?)``"
    r"|(?::[\w:+.-]+:)?`(?P<role>[^`]+)`(?:__?|:[\w:+.-]+:)?"
    r"|\*\*(?P<strong>\S(?:.*?\S)?)\*\*"
    r"|(?<![\w*])\*(?P<emphasis>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])"
    r"|(?<!\w)\|(?P<name>[^\s|](?:[^|]*[^\s|])?)\|_{0,2}(?!\w)"
    r"|(?<![\w`])(?P<reference>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)__?(?![\w`(])"
    r"|(?P<footnote>\[[\w#*.-]+\])_(?!\w)"
    r"|_`(?P<target>[^`]+)`"
    r"|\\(?P<escaped>.)",
    re.DOTALL,
)
#: The address behind the words of a link.
ADDRESS = re.compile(r"\s*(?<!\\)<[^<>]*>$", re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def plain(text: str, substitutions: Mapping[str, str]) -> str:
    """Return the text without marks.

    Args:
        text: one paragraph.
        substitutions: the text that replaces each ``|name|``.
    """
    if len(text) > MAX_PARAGRAPH:
        return text

    def shown(found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        inner = found[kind]
        if kind == "role":
            return _of_role(found[0], inner)
        if kind == "name":
            return substitutions.get(inner, inner)
        if kind == "escaped":
            return "" if inner.isspace() else inner
        return inner

    return MARKS.sub(shown, text)


def _of_role(markup: str, inner: str) -> str:
    """Return the words of ``:role:`words <target>` ``. A tilde leaves out the path before a name."""
    words = ADDRESS.sub("", inner)
    if not words:  # the address is the text
        return inner.strip("<>")
    words = ESCAPED.sub(r"\1", words)
    if markup.startswith(":"):
        if words.startswith("~"):
            return words[1:].rpartition(".")[2]
        return words.removeprefix("!")
    return words
