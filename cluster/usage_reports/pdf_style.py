"""Define the sizes, colours and paragraph styles of the PDF."""

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm

from cluster.usage_reports.fonts import BOLD, TEXT

MARGIN = 18 * mm
#: Colour of headings, lines and bars.
ACCENT = HexColor("#1f3a5f")
#: Colour of secondary text.
MUTED = HexColor("#5b6570")
#: Background of the heads and totals of tables.
SHADE = HexColor("#eef2f6")
DRAFT_COLOUR, FINAL_COLOUR = HexColor("#b25900"), HexColor("#1d6b3a")
GRID = HexColor("#c9d1d9")

BODY = ParagraphStyle("body", fontName=TEXT, fontSize=8.5, leading=12, spaceAfter=3)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=7.5, leading=10.5, textColor=MUTED)
#: A cell of a table. CJK wrapping also breaks a long name without spaces.
CELL = ParagraphStyle("cell", parent=BODY, fontSize=7.5, leading=9.5, spaceAfter=0, wordWrap="CJK")
HEADING = ParagraphStyle(
    "heading",
    fontName=BOLD,
    fontSize=11.5,
    leading=15,
    spaceBefore=16,
    spaceAfter=6,
    textColor=ACCENT,
)
COVER = ParagraphStyle("cover", fontName=BOLD, fontSize=24, leading=30, textColor=ACCENT)
_STATE = ParagraphStyle("state", fontName=BOLD, fontSize=13, leading=17, alignment=TA_LEFT)
DRAFT = ParagraphStyle("draft", parent=_STATE, textColor=DRAFT_COLOUR)
FINAL = ParagraphStyle("final", parent=_STATE, textColor=FINAL_COLOUR)
