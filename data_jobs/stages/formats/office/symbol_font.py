"""Find the characters that codes of the font Symbol show. Office documents use this font for Greek letters.

    symbol_text("Symbol", 0xF06D)   # "μ"

Source: the built-in encoding of Symbol, PostScript Language Reference (Adobe), appendix E.13.
"""

#: The characters from the code 0x21 on, and from the code 0xA0 on. A space is in the place of a code that has
#: no character or shows a piece of a large bracket.
_FROM_21 = "!∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_ αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
_FROM_A0 = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…  ↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊⟨®©™∑           ⟩∫⌠ ⌡"
_CHARACTERS = dict(enumerate(_FROM_21, 0x21)) | dict(enumerate(_FROM_A0, 0xA0))
#: The code points for private use that Unicode text has in place of the codes of symbol fonts. For example,
#: 0xF061 is the code 0x61.
_PRIVATE = range(0xF000, 0xF100)
#: The names of the fonts with the encoding of Symbol begin with one of these texts.
_NAMES = ("symbol", "standard symbols")


def is_symbol_font(name: str) -> bool:
    """Return True if this is the name of a font with the encoding of Symbol."""
    return name.strip(" ;\"'").lower().startswith(_NAMES)


def symbol_text(font: str, code: int) -> str:
    """Return the character that a font shows for a code. A font without the encoding of Symbol shows the
    Unicode character; return "" if this code is for private use or is not between 1 and 0xFFFF.
    """
    if is_symbol_font(font):
        return _CHARACTERS.get(code - _PRIVATE.start if code in _PRIVATE else code, " ")
    return "" if 0xE000 <= code < 0xF900 or not 0 < code < 0x10000 else chr(code)


def with_symbols(text: str) -> str:
    """Return a text in the font Symbol, with the shown characters in place of code points for private use."""
    return "".join(symbol_text("symbol", ord(one)) if ord(one) in _PRIVATE else one for one in text)
