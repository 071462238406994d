"""Recognises text in UTF-16 or UTF-32 that has no byte order mark.

The bytes are decoded in each of these encodings, and the resulting characters show if the bytes are text.

unmarked_encoding("hello".encode("utf-16-le"))    # "utf-16-le"
"""

import codecs
import re
import unicodedata
from collections import Counter

#: Number of bytes at the start of a file that are examined.
EXAMINED_BYTES = 4096
#: Minimum number of bytes to recognise UTF-32. Four bytes are not enough, because many sequences of four
#: bytes are a valid character by chance.
LEAST_UTF_32_BYTES = 8
#: Bytes that are very rare in a text in UTF-8 or in an 8-bit character set.
UNUSUAL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
SPACES = "\t\n\r\f\x0b\x1b"
#: Unicode is divided into blocks of 256 characters here. Blocks with a number below ``ALPHABETS_BELOW`` hold
#: alphabets. An alphabetic text has at least ``SHARE_OF_TWO_BLOCKS`` of its characters in two blocks: the
#: first block, which has spaces and digits, and one other block.
ALPHABETS_BELOW, SHARE_OF_TWO_BLOCKS = 0x20, 0.85
EAST_ASIAN = re.compile(
    r"[\x20-\x7e\s\u2000-\u206f\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]*"
)
#: East Asian punctuation and kana. The bytes of two Latin letters are often an ideograph in UTF-16, but
#: rarely one of these signs.
EAST_ASIAN_SIGN = re.compile(r"[\u3000-\u30ff\uff01-\uffee]")
#: To recognise an East Asian text that has no ``UNUSUAL`` bytes: minimum number of its characters, and
#: minimum share of ``EAST_ASIAN_SIGN`` among its characters.
LEAST_CHARACTERS, SHARE_OF_SIGNS = 8, 0.1
WIDE = re.compile(rb"[\x00\x80-\xff]")
#: Minimum share of ``WIDE`` bytes in an East Asian text. It is low enough for a text with some Latin words.
SHARE_WIDE = 0.15


def unmarked_encoding(data: bytes) -> str | None:
    """Return Python's name of the encoding; None if the bytes do not look like text in UTF-16 or UTF-32."""
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
    """Return True if every character is in ``SPACES``, or is assigned and not for control or private use."""
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
