"""Recognise UTF-16 and UTF-32 without a byte order mark by the characters that their bytes would be.

unmarked_encoding("hello".encode("utf-16-le"))    # "utf-16-le"
"""

import codecs
import re
import unicodedata
from collections import Counter

#: Bytes of a file that are examined.
EXAMINED_BYTES = 4096
#: UTF-32 is recognised from this many bytes on. A single character could be any four bytes, two of them
#: small.
LEAST_UTF_32_BYTES = 8
#: Bytes that text in an 8-bit character set hardly ever has.
UNUSUAL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
SPACES = "\t\n\r\f\x0b\x1b"
#: Blocks of 256 characters below this number hold alphabets. This share of an alphabetic text is in the first
#: block, with spaces and digits, and in one other.
ALPHABETS_BELOW, SHARE_OF_TWO_BLOCKS = 0x20, 0.85
EAST_ASIAN = re.compile(
    r"[\x20-\x7e\s\u2000-\u206f\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]*"
)
#: Punctuation and kana. Two Latin letters may look like an ideograph, but hardly like one of these.
EAST_ASIAN_SIGN = re.compile(r"[\u3000-\u30ff\uff01-\uffee]")
#: Least number of characters and least share of such signs in an East Asian text without unusual bytes.
LEAST_CHARACTERS, SHARE_OF_SIGNS = 8, 0.1
WIDE = re.compile(rb"[\x00\x80-\xff]")
#: Least share of bytes beyond ASCII in an East Asian text with some Latin words.
SHARE_WIDE = 0.15


def unmarked_encoding(data: bytes) -> str | None:
    """The wide encoding of a text without a byte order mark, as Python names it; None for any other text."""
    start = data[:EXAMINED_BYTES]
    unusual = UNUSUAL.search(start) is not None
    eight_bits = _decoded(start, "utf-8") is not None
    if len(start) < 4 or (not unusual and eight_bits):
        return None
    for encoding in ("utf-32-le", "utf-32-be") if unusual and len(start) >= LEAST_UTF_32_BYTES else ():
        text = _decoded(start, encoding)
        if text and _is_text(text):
            return encoding
    for encoding in ("utf-16-le", "utf-16-be"):
        text = _decoded(start, encoding)
        if (
            text
            and _is_text(text)
            and (
                (unusual and _is_alphabetic(text))
                or (not eight_bits and _is_east_asian(start, text, unusual))
            )
        ):
            return encoding
    return None


def _decoded(start: bytes, encoding: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(start, final=False)
    except UnicodeDecodeError:
        return None


def _is_text(text: str) -> bool:
    """True if Unicode assigns every character, and none is a control character."""
    return all(
        character in SPACES or unicodedata.category(character) not in {"Cc", "Cn", "Co", "Cs"}
        for character in set(text)
    )


def _is_alphabetic(text: str) -> bool:
    blocks = Counter(ord(character) >> 8 for character in text)
    first = blocks.pop(0, 0)
    other = max((count for block, count in blocks.items() if block < ALPHABETS_BELOW), default=0)
    return first + other >= len(text) * SHARE_OF_TWO_BLOCKS


def _is_east_asian(start: bytes, text: str, unusual: bool) -> bool:
    if EAST_ASIAN.fullmatch(text) is None or len(WIDE.findall(start)) < len(start) * SHARE_WIDE:
        return False
    return unusual or (
        len(text) >= LEAST_CHARACTERS and len(EAST_ASIAN_SIGN.findall(text)) >= len(text) * SHARE_OF_SIGNS
    )
