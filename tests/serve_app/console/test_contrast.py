"""Text of the console has the contrast of WCAG 2.2 (4.5 to 1), in the light and in the dark theme."""

import re

import pytest

from tests.serve_app.console.test_console_files import STATIC

THEME = (STATIC / "style" / "theme.css").read_text(encoding="utf-8")
COLOURS = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\);", THEME))
#: Each colour of text with the backgrounds on which it stands.
PAIRS = [
    *(
        (text, below)
        for text in ("text", "quiet", "accent")
        for below in ("page", "surface", "raised", "hover")
    ),
    *((state, below) for state in ("good", "busy", "bad", "warn") for below in (f"{state}-soft", "surface")),
    ("quiet", "idle-soft"),
    ("text", "selected"),
    ("accent-strong", "selected"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
]
#: Borders of fields and the mark of the focus need 3 to 1.
MARKS = [("strong-line", "surface"), ("strong-line", "raised"), ("focus", "page"), ("focus", "surface")]


def luminance(colour: str) -> float:
    """Relative luminance (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_what_is_below(theme: int) -> None:
    colour = {name: values.split(", ")[theme] for name, values in COLOURS.items()}
    low = {
        f"{above} on {below}": round(ratio, 2)
        for pairs, least in ((PAIRS, 4.5), (MARKS, 3.0))
        for above, below in pairs
        if (ratio := contrast(colour[above], colour[below])) < least
    }
    assert low == {}
