"""The characters of the font Symbol are those whose names HTML has for them."""

import html

from data_jobs.stages.formats.office.symbol_font import symbol_text

#: Codes of the font, and the entities of HTML for their characters (HTML 4.01, 24.3).
ENTITIES = {
    0x22: "forall", 0x40: "cong", 0x44: "Delta", 0x4A: "thetasym", 0x56: "sigmaf", 0x5C: "there4", 0x6D: "mu",
    0x76: "piv", 0x7A: "zeta", 0xA1: "upsih", 0xA3: "le", 0xAA: "spades", 0xAF: "darr", 0xB2: "Prime",
    0xB5: "prop", 0xBC: "hellip", 0xC0: "alefsym", 0xC6: "empty", 0xCF: "notin", 0xD5: "prod", 0xDE: "rArr",
    0xE0: "loz", 0xE5: "sum", 0xF2: "int",
}  # fmt: skip


def test_codes_have_the_characters_that_html_names() -> None:
    for code, entity in ENTITIES.items():
        shown = html.unescape(f"&{entity};")
        assert symbol_text("Symbol", code) == symbol_text("Standard Symbols L;", 0xF000 + code) == shown


def test_a_code_of_an_unknown_font_has_no_character() -> None:
    assert [symbol_text("Wingdings", code) for code in (0xF0E0, 0, 0x110000)] == ["", "", ""]
    assert symbol_text("Arial", 0x41) == "A"
