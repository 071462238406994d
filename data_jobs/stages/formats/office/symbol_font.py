"""Say which characters the code points of the font Symbol show. Office documents write Greek letters in it.

    symbol_text("Symbol", 0xF06D)   # "μ"

Source: the built-in encoding of Symbol, PostScript Language Reference (Adobe), appendix E.13.
"""

#: The characters from the code 0x21, and from 0xA0. A space stands for a code without a character of its own,
#: and for pieces of large brackets.
_FROM_21 = "!∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_ αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
_FROM_A0 = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…  ↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊⟨®©™∑           ⟩∫⌠ ⌡"
_CHARACTERS = dict(enumerate(_FROM_21, 0x21)) | dict(enumerate(_FROM_A0, 0xA0))
#: Where Unicode text keeps the codes of symbol fonts: 0xF061 is the code 0x61.
_PRIVATE = range(0xF000, 0xF100)
#: How the names of the fonts with this encoding begin.
_NAMES = ("symbol", "standard symbols")


def is_symbol_font(name: str) -> bool:
    """True for the name of a font with the encoding of Symbol."""
    return name.strip(" ;\"'").lower().startswith(_NAMES)


def symbol_text(font: str, code: int) -> str:
    """The character that a font shows for a code; "" for a private code of a font that is unknown."""
    if is_symbol_font(font):
        return _CHARACTERS.get(code - _PRIVATE.start if code in _PRIVATE else code, " ")
    return "" if 0xE000 <= code < 0xF900 or not 0 < code < 0x10000 else chr(code)


def with_symbols(text: str) -> str:
    """A text in Symbol with its code points for private use replaced by the characters that they show."""
    return "".join(symbol_text("symbol", ord(one)) if ord(one) in _PRIVATE else one for one in text)
