"""Convert a text to normalised words, from which every Postgres server makes the same lexemes.

Documents and queries are converted in the same way. Without the conversion, the lexemes would depend on the
server's locale, because ``LC_CTYPE`` decides which characters are letters for Postgres' own parser. Under
``C``, every character beyond ASCII is a letter, so “pump” and its quotation marks are one word. Under another
ctype, the C library decides. The result of ``words`` has only letters, marks, digits and decimal points in
one form, with spaces between words, so the parser's result does not depend on the server. See
docs/decisions/016-words-without-a-locale.md.

    words("“Pump”—operator, 10 kg").text     # ' pump  operator  10 kg'
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

#: Increase this number if a code change gives different words for the same text, or another configuration
#: (``text_configurations``). Upkeep then renews the chunks of older versions.
WORDS_VERSION = 2
#: Longer words are cut into pieces of this many characters because Postgres drops lexemes of more than 2,046
#: bytes.
LONGEST_WORD = 128
#: Maximum number of characters whose replacements are in memory, and maximum number of short runs whose
#: normal forms are in memory.
MAX_REMEMBERED = 65_536

#: Invisible characters inside words that are not format characters (Cf): joiners, fillers, variation
#: selectors.
INVISIBLE = frozenset(
    [
        0x034F,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        0x3164,
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)
#: Characters that some authors write and most authors omit: the tatweel and vowel signs of Arabic, the points
#: of Hebrew.
OPTIONAL = frozenset(
    [
        0x0640,
        *range(0x064B, 0x0653),
        0x0670,
        *range(0x0591, 0x05BE),
        0x05BF,
        0x05C1,
        0x05C2,
        0x05C4,
        0x05C5,
        0x05C7,
    ]
)
#: Letters and marks of scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han.
SPACELESS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u109a-\u109d"
    "\ua9e0-\ua9ef\ua9fa-\ua9fe"
    "\uaa60-\uaa76\uaa7a-\uaa7f\u1780-\u17d3\u17d7\u17dc\u17dd\u3005-\u3007\u3021-\u3029\u3031-\u3035"
    "\u3038-\u303c\u3041-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
#: The marks in ``SPACELESS``. A mark belongs to the letter before it.
MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059\u105e-\u1060"
    "\u1062-\u1064"
    "\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d\uaa70\uaa7b-\uaa7d\u17b6-\u17d3\u17dd\u3099\u309a"
)
RUN = re.compile(f"[{SPACELESS}]+")
LETTER = re.compile(f"[{SPACELESS}][{MARKS}]*")
FOREIGN = re.compile("[^\x00-\x7f]+")
#: Normal forms of ``FOREIGN`` runs up to this length are kept in memory, such as those of quotation marks and
#: accented letters.
SHORT = 4
#: A full stop that is not a decimal point. The search is fast because the pattern begins with the full stop.
STOP = re.compile(r"\.(?:(?![0-9])|(?<![0-9]\.))")
#: Combining accents without a letter. NFKC converts a stand-alone accent (U+00B4) to a space and a combining
#: accent.
LONE = re.compile(r"(?<!\S)[\u0300-\u036f]+")
#: Translates bytes of UTF-8. ASCII letters become lower case, and other ASCII characters become spaces,
#: except digits and points. All other bytes do not change.
ASCII = bytes(
    code if chr(code).isalnum() or chr(code) == "." or code > 127 else 32
    for code in bytes(range(256)).lower()
)
LONG = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchWords:
    """The words of a text, in the form for the parser of Postgres."""

    #: The words in their order, with spaces between words. In a script without spaces, each pair of
    #: neighbouring letters is a word.
    text: str
    #: The different letters of the pairs, separated by spaces. A query of a single letter finds these
    #: letters.
    letters: str


def words(text: str) -> SearchWords:
    """Return the words of a document or query, which must have no NUL and no half of a surrogate pair."""
    text = normalised(text)
    letters: dict[str, None] = {}

    def pairs(run: re.Match[str]) -> str:
        found = LETTER.findall(run[0])
        if len(found) == 1:
            return f" {found[0]} "
        letters.update(dict.fromkeys(found))
        return f" {' '.join(map(''.join, pairwise(found)))} "

    if not text.isascii():
        text = RUN.sub(pairs, text)
    if len(text) > LONGEST_WORD and max(map(len, text.split()), default=0) > LONGEST_WORD:
        text = LONG.sub(_pieces, text)
    return SearchWords(text=text, letters=" ".join(letters))


def normalised(text: str) -> str:
    """Return the text in one normal form, without compatibility forms, upper case and invisible characters.

    All signs except decimal points become spaces.
    """
    if not text.isascii():
        text = FOREIGN.sub(lambda run: _remembered(run[0]) if len(run[0]) <= SHORT else _folded(run[0]), text)
    text = text.encode().translate(ASCII).decode()
    if not text.isascii():  # compose ASCII letters with their marks; Turkish dotted I becomes i
        text = LONE.sub("", unicodedata.normalize("NFKC", text).replace("i\u0307", "i"))
    return STOP.sub(" ", text)


def _folded(text: str) -> str:
    """Normalise compatibility forms (ligatures, full width, presentation forms), case, marks and signs."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u0131", "i")
    return unicodedata.normalize("NFKC", folded.translate(_NORMALISED))


_remembered = lru_cache(MAX_REMEMBERED)(_folded)


def _pieces(long: re.Match[str]) -> str:
    return " ".join(long[0][start : start + LONGEST_WORD] for start in range(0, len(long[0]), LONGEST_WORD))


class _Normalised(dict[int, int | str | None]):
    """Maps each code point to its replacement: itself, an ASCII digit, a space, or nothing."""

    def __missing__(self, code: int) -> int | str | None:
        replacement = _replacement(chr(code))
        if len(self) < MAX_REMEMBERED:
            self[code] = replacement
        return replacement


def _replacement(character: str) -> int | str | None:
    code, category = ord(character), unicodedata.category(character)
    if category == "Cf" or code in INVISIBLE or code in OPTIONAL:
        return None
    if category == "Nd":
        return str(unicodedata.decimal(character))
    # Nearly all unassigned characters (Cn) are letters of a later Unicode version.
    if character == "." or category[0] in "LMN" or category == "Cn":
        return code
    return " "


_NORMALISED = _Normalised()
