"""Read the paragraphs and the tables of Rich Text Format into a page.

reader = Reader(writer=Writer(page=page))
reader.read(data)
reader.is_whole      # False if the end of the file is missing
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from data_jobs.stages.formats.office.rich_text.tokens import (
    CHARSETS,
    OPTIONAL_TEXT,
    SILENT,
    SYMBOLS,
    Token,
    tokens,
)
from data_jobs.stages.formats.office.rich_text.writer import Writer
from data_jobs.stages.formats.office.symbol_font import is_symbol_font, symbol_text, with_symbols

#: Where the text of a group goes. ``EDGE`` is for headers and footers, and ``NOWHERE`` leaves out the text.
BODY, NOWHERE, NOTE, EDGE, FONTS, STYLES, LABEL, FIELD = (
    "body",
    "nowhere",
    "note",
    "edge",
    "fonts",
    "styles",
    "label",
    "field",
)
#: A group that begins with the first word holds a text twice: for old programs, and then in Unicode, in a
#: group that begins with the second word.
BOTH_FORMS, UNICODE_FORM = "upr", "ud"
#: The destinations of groups, by the control word with which a group begins.
DESTINATIONS = {
    "fonttbl": FONTS,
    "stylesheet": STYLES,
    "footnote": NOTE,
    "fldinst": FIELD,
    **dict.fromkeys("header headerl headerr headerf footer footerl footerr footerf".split(), EDGE),
    **dict.fromkeys(("listtext", "pntext"), LABEL),
    **dict.fromkeys((*SILENT, BOTH_FORMS), NOWHERE),
}
#: The instruction of a field that shows one character. The groups are the code and the font of the character.
SYMBOL_FIELD = re.compile(r'\s*SYMBOL\s+(\d{1,5})\b(?:.*?\\f\s*"?([^"\\]+))?', re.IGNORECASE | re.DOTALL)
#: Maximum number of characters of the instruction of a field, and of the name of a style. The rest is left
#: out. Both are joined piece by piece, so without a limit the time grows with the square of their length.
MAX_INSTRUCTION, MAX_STYLE_NAME = 1_000, 256
#: A paragraph with this outline level or a higher one is body text.
BODY_TEXT = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Holds the state of a group. A group inherits the state of the group around it."""

    to: str = BODY
    #: Number of the font; None means the default font.
    font: int | None = None
    #: Number of characters after a Unicode character that old programs show instead of this character.
    replaced: int = 1
    is_hidden: bool = False
    is_deleted: bool = False
    #: True after the mark of an optional group, until the next control word.
    is_optional: bool = False


@dataclass(kw_only=True, slots=True)
class Reader:
    """Reads one file, and passes its text to a writer."""

    writer: Writer
    #: Number of hidden characters so far.
    hidden: int = 0
    #: False if the file ends before the end of its outermost group.
    is_whole: bool = False
    _group: _Group = field(default_factory=_Group)
    _above: list[_Group] = field(default_factory=list)
    #: The character sets of fonts, by the number of the font.
    _fonts: dict[int, str] = field(default_factory=dict)
    #: Numbers of the fonts that have the encoding of the font Symbol.
    _symbol_fonts: set[int | None] = field(default_factory=set)
    _default_font: int = 0
    _default_charset: str = "cp1252"
    #: Bytes that are not decoded yet; a character may need several bytes.
    _bytes: bytearray = field(default_factory=bytearray)
    #: Number of the next characters to leave out, because old programs show them for a Unicode character.
    _to_leave_out: int = 0
    #: Number of the style that is being defined.
    _style: int = 0
    #: Outline level of the style that is being defined; None if the style has none.
    _style_level: int | None = None
    #: Name of the style that is being defined.
    _style_name: str = ""
    #: The first half of a character that needs two ``u`` words (UTF-16); 0 if no half was read.
    _high_surrogate: int = 0
    #: The instruction of the field that is being read.
    _instruction: str = ""
    #: True after an instruction whose character is already written. The result of the field is then left out,
    #: because the result would repeat the character.
    _is_shown: bool = False

    def read(self, data: bytes) -> None:
        """Read the content of a file, and pass its text to the writer, which writes into its page."""
        for token in tokens(data):
            if token.brace == "{":
                self._flush()
                self._above.append(self._group)
                self._to_leave_out = 0
            elif token.brace == "}":
                self._end_group()
                if self.is_whole:
                    break
            elif token.data:
                self._add_bytes(token.data)
            else:
                self._flush()
                self._read_word(token)
        self._flush()
        self.writer.end()

    def _end_group(self) -> None:
        self._flush()
        self._to_leave_out = 0
        ended = self._group
        self._group = self._above.pop() if self._above else ended
        self.is_whole = not self._above
        if ended.to != self._group.to:
            if ended.to == NOTE:
                self.writer.end_note()
            elif ended.to == EDGE:
                self.writer.end_edge()
            elif ended.to == FIELD:
                self._end_instruction()
        if ended.to == STYLES and self._group.to == STYLES:
            self.writer.add_style(self._style, self._style_name.strip(" ;"), self._style_level)
            self._style, self._style_level, self._style_name = 0, None, ""

    def _end_instruction(self) -> None:
        found = SYMBOL_FIELD.match(self._instruction)
        self._instruction, self._is_shown = "", found is not None
        if found is not None:
            self._add_text(symbol_text(found[2] or "", int(found[1])))

    def _read_word(self, token: Token) -> None:
        word, number = token.word, token.number
        if word == "*":
            self._group = replace(self._group, is_optional=True)
            return
        if self._group.is_optional:
            self._group = replace(self._group, is_optional=False)
            if word not in OPTIONAL_TEXT:
                self._group = replace(self._group, to=NOWHERE)
        if word == "fldrslt" and self._is_shown:
            self._group, self._is_shown = replace(self._group, to=NOWHERE), False
        elif word == UNICODE_FORM and len(self._above) > 1:
            self._group = replace(self._group, to=self._above[-2].to)
        elif word in DESTINATIONS:
            self._start_destination(DESTINATIONS[word])
        elif self._group.to == NOWHERE:
            return
        elif word == "u" and number is not None:
            self._add_unicode(number % 0x10000)
        elif self._to_leave_out and word not in PROPERTIES:
            self._to_leave_out -= 1
        elif word in SYMBOLS:
            self._add_text(SYMBOLS[word])
        elif word in PROPERTIES:
            PROPERTIES[word](self, number)
        elif self._group.to == BODY:
            self.writer.control(word, number)
        elif self._group.to in {NOTE, EDGE} and word in {"par", "cell", "row"}:
            self._add_text(" ")

    def _start_destination(self, to: str) -> None:
        if self._group.to in {NOWHERE, FONTS, STYLES}:
            return
        if self._group.to in {NOTE, EDGE} and to not in {NOWHERE, FIELD}:
            return
        if self._group.to == FIELD and to != NOWHERE:
            return
        if to == NOTE:
            self.writer.start_note()
        self._group = replace(self._group, to=to)

    def _add_bytes(self, data: bytes) -> None:
        if self._to_leave_out:
            left_out = min(self._to_leave_out, len(data))
            self._to_leave_out -= left_out
            data = data[left_out:]
        if self._group.to != NOWHERE:
            self._bytes += data

    def _flush(self) -> None:
        """Decode the collected bytes, and add their text."""
        if self._bytes:
            data, charset = bytes(self._bytes), self._charset()
            self._bytes.clear()
            if self._is_symbol():
                self._add_text("".join(symbol_text("symbol", code) for code in data))
            else:
                self._add_text(data.decode(charset, "replace"))

    def _charset(self) -> str:
        return self._fonts.get(self._font(), self._default_charset)

    def _is_symbol(self) -> bool:
        return self._font() in self._symbol_fonts and self._group.to not in {FONTS, FIELD}

    def _font(self) -> int:
        return self._default_font if self._group.font is None else self._group.font

    def _add_unicode(self, code: int) -> None:
        self._to_leave_out = self._group.replaced
        if 0xD800 <= code < 0xDC00:
            self._high_surrogate = code
            return
        if 0xDC00 <= code < 0xE000:
            high, self._high_surrogate = self._high_surrogate, 0
            if not high:
                return
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)
        self._add_text(with_symbols(chr(code)) if self._is_symbol() else chr(code))

    def _add_text(self, text: str) -> None:
        group = self._group
        if group.is_deleted:
            return
        if group.is_hidden and group.to == BODY:
            self.hidden += len(text.strip())
        elif group.to == STYLES:
            self._style_name += text[: MAX_STYLE_NAME - len(self._style_name)]
        elif group.to == FIELD:
            self._instruction += text[: MAX_INSTRUCTION - len(self._instruction)]
        elif group.to == FONTS and is_symbol_font(text):
            self._symbol_fonts.add(group.font)
        elif group.to in {BODY, LABEL, NOTE, EDGE}:
            self.writer.add(
                text, to_label=group.to == LABEL, to_note=group.to == NOTE, to_edge=group.to == EDGE
            )

    def set_font(self, number: int | None) -> None:
        """Choose a font or, in the table of fonts, begin the definition of a font."""
        self._group = replace(self._group, font=number)

    def set_charset(self, number: int | None) -> None:
        """Set the character set of the font that is being defined."""
        charset = CHARSETS.get(-1 if number is None else number)
        if self._group.to == FONTS and self._group.font is not None and charset:
            self._fonts[self._group.font] = charset

    def set_code_page(self, number: int | None) -> None:
        """Set the character set for fonts that name no character set. Ignore an unknown code page."""
        try:
            "".encode(f"cp{number}")
        except LookupError:
            return
        self._default_charset = f"cp{number}"

    def set_macintosh(self, _: int | None) -> None:
        """Set the character set of the Macintosh for fonts that name no character set."""
        self._default_charset = "mac_roman"

    def set_default_font(self, number: int | None) -> None:
        """Set the font of text that names no font."""
        self._default_font = number or 0

    def set_plain(self, _: int | None) -> None:
        """Reset the properties of characters."""
        self._group = replace(self._group, font=None, is_hidden=False, is_deleted=False)

    def set_hidden(self, number: int | None) -> None:
        """Hide the following characters, or show them again."""
        self._group = replace(self._group, is_hidden=number != 0)

    def set_deleted(self, number: int | None) -> None:
        """Mark the following characters as deleted, or as not deleted."""
        self._group = replace(self._group, is_deleted=number != 0)

    def set_replaced(self, number: int | None) -> None:
        """Set the number of characters that old programs show in place of each Unicode character."""
        self._group = replace(self._group, replaced=min(max(0, number or 0), 100))

    def set_style(self, number: int | None) -> None:
        """Choose the style of a paragraph, or begin the definition of a style."""
        if self._group.to == STYLES:
            self._style = number or 0
        elif self._group.to == BODY:
            self.writer.style = number or 0

    def set_outline_level(self, number: int | None) -> None:
        """Set the outline level of a paragraph or of a style."""
        level = number + 1 if number is not None and 0 <= number < BODY_TEXT else 0
        if self._group.to == STYLES:
            self._style_level = level
        elif self._group.to == BODY:
            self.writer.level = level


#: The control words that change how the following text is read, and the method for each word.
PROPERTIES: dict[str, Callable[[Reader, int | None], None]] = {
    "f": Reader.set_font,
    "fcharset": Reader.set_charset,
    "ansicpg": Reader.set_code_page,
    "mac": Reader.set_macintosh,
    "deff": Reader.set_default_font,
    "plain": Reader.set_plain,
    "v": Reader.set_hidden,
    "deleted": Reader.set_deleted,
    "uc": Reader.set_replaced,
    "s": Reader.set_style,
    "outlinelevel": Reader.set_outline_level,
}
