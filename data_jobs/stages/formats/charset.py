"""Decode the bytes of a text.

The character set is found by the byte order mark, else by a check for UTF-16 and UTF-32 without a mark, else
by a check for valid UTF-8, else by the set that the document declares, else by the frequencies of characters.

decoded = decode("Straße".encode("cp1252"))
decoded.text, decoded.encoding, decoded.replaced    # "Straße", "cp1252", 0
"""

import codecs
import re
from dataclasses import dataclass

import chardet

from cluster.records import NO_PAGE, Fact
from cluster.text.wide_text import unmarked_encoding

#: The little-endian mark of UTF-32 begins with the mark of UTF-16, so the mark of UTF-32 comes first.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
#: Number of bytes searched for a declaration. HTML requires the declaration in the first 1,024 bytes, but
#: some authors ignore this rule.
DECLARED_WITHIN = 4096
#: Declarations of a character set: ``<meta charset=..>``, ``http-equiv``, and headers of mail and gettext; in
#: XML; in style sheets; for Emacs and vim.
DECLARATION = re.compile(
    rb"""\bcharset\s*=\s*["']?([\w.:-]+)|<\?xml[^>]*\bencoding\s*=\s*["']([\w.:-]+)"""
    rb"""|^@charset\s+"([\w.:-]+)"|-\*-[^\n]*?\bcoding:\s*([\w.-]+)"""
    rb"""|\b(?:vim?|ex):[^\n]*?\bf(?:ile)?enc(?:oding)?=([\w.-]+)""",
    re.IGNORECASE,
)
#: On the web, the name of a set means the larger set that contains the named set
#: (https://encoding.spec.whatwg.org/#names-and-labels).
SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "euc_jis_2004": "euc_jp",
    "shift_jis_2004": "cp932",
    "iso2022_jp": "iso2022_jp_ext",
    "iso2022_jp_2": "iso2022_jp_ext",
}
#: Labels that Python's codecs do not know.
LABELS = {
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "windows-874": "cp874",
    "x-cp1251": "cp1251",
    "x-mac-roman": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "koi8": "koi8-r",
}
#: Escape sequences, each with the character set that it selects. Text in these sets has ASCII bytes only.
ESCAPES = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$", "iso2022_jp_ext"), (b"\x1b(J", "iso2022_jp_ext"))
#: Names in a declaration that are ignored. A declaration that is readable as ASCII is not in UTF-16, UTF-32
#: or EBCDIC (the names in the last line), whatever set it names. UTF-8 was tried before the declaration. The
#: other names are UTF-7 and codecs of Python that are not character sets.
NOT_DECLARED = re.compile(
    r"utf-(?:7|8|16|32)|idna|punycode|unicode|undefined|mbcs|oem|cp65001"
    r"|cp037|cp500|cp1026|cp1140|cp273|cp424|cp875"
)
#: Sets that real texts use. The detector also knows other sets, and would wrongly find those other sets in
#: short texts.
CANDIDATES = tuple(
    "ascii utf-8 gb18030 hz big5hkscs euc_jis_2004 cp932 shift_jis_2004 iso2022_jp_2 euc_kr cp949 "
    "johab iso2022_kr cp874 tis-620 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 "
    "koi8-r koi8-u cp437 cp850 cp852 cp855 cp862 cp866 cp1125 mac-roman mac-cyrillic iso8859-1 "
    "iso8859-2 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-13 iso8859-15".split()
)
MULTI_BYTE = ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949")
#: Number of bytes after which the sample for the detector gets no further line. The sample consists of whole
#: lines that are not ASCII. A line with more bytes than this number is cut.
SAMPLE_BYTES = 64 * 1024
NOT_ASCII = re.compile(rb"[\x80-\xff]")
#: A text counts as Windows-1252 if it has fewer than ``FEW_CHARACTERS`` non-ASCII bytes, the confidence of
#: the detector is below ``LOW_CONFIDENCE``, and the text matches ``WESTERN`` in that set.
FEW_CHARACTERS, LOW_CONFIDENCE = 8, 0.3
#: Latin words and signs in which no three accented letters follow one another.
WESTERN = re.compile(
    "(?![^\0]*[^\0-\x7f]{3})[\x00-\x7f áéíóúàèìòùâêîôûäëïöüñçãõåæøœßÿÁÉÍÓÚÀÈÌÒÙÂÊÎÔÛÄËÏÖÜÑÇÃÕÅÆØŒ"
    "“”‘’‚„–—…•·«»€£¥©®™°±²³µ¼½¾×§¡¿ªº\xa0]*"
)
#: A set is accepted if at most one of this many non-ASCII bytes is not valid in the set. One such byte is
#: accepted in a text of any length.
ONE_BAD_IN = 50
#: UTF-8 is accepted if there are at least this many valid non-ASCII characters for each bad byte, because
#: text of other sets rarely looks like UTF-8.
CHARACTERS_PER_BAD_BYTE = 2
#: If more than one byte for each group of this many characters was replaced, the text counts as read only in
#: part.
ONE_UNREAD_IN = 100
UNDECODED = re.compile("[\udc80-\udcff]")
REPLACEMENT = "\ufffd"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """A text, and how its bytes were decoded."""

    text: str
    #: The character set, as Python names it.
    encoding: str
    #: Number of bytes that are not text in this set; U+FFFD replaces each such byte.
    replaced: int = 0

    @property
    def facts(self) -> dict[Fact, str | float | bool]:
        """The facts about how the bytes were decoded."""
        return {Fact.ENCODING: self.encoding} | (
            {Fact.REPLACED_BYTES: self.replaced} if self.replaced else {}
        )

    @property
    def unread(self) -> dict[int, str]:
        """A report in the form of ``ParserOutput.unread`` if so many bytes were replaced that the text has
        gaps; empty otherwise.
        """
        if self.replaced * ONE_UNREAD_IN <= len(self.text):
            return {}
        return {
            NO_PAGE: f"{self.replaced:,} bytes are not text in {self.encoding}, the character set "
            "that fits best: save it as UTF-8"
        }


def load() -> None:
    """Load the detector's tables, so that forked processes do not need to load them."""
    _likeliest("é".encode("cp1252"))


def decode(data: bytes, *, declared: str | None = None) -> Decoded:
    """Decode any bytes. Bytes that do not fit the character set are replaced and counted.

    Args:
        data: the bytes.
        declared: the character set that the sender of the bytes declares, such as a web server; it has
            precedence over the declaration in the document.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _in(encoding, data[len(mark) :])
    if wide := unmarked_encoding(data):
        return _in(wide, data)
    if data.isascii():
        return _escaped(data) or Decoded(text=data.decode("ascii"), encoding="ascii")
    decoded = _in("utf-8", data)
    if not decoded.replaced:
        return decoded
    foreign = len(data) - len(decoded.text.encode("ascii", "ignore"))
    if (
        decoded.replaced * CHARACTERS_PER_BAD_BYTE
        <= len(decoded.text) - (len(data) - foreign) - decoded.replaced
    ):
        return decoded
    sent = None if declared is None else _known(LABELS.get(declared.lower(), declared.lower()))
    for guess in (lambda _: sent, _declared, _detected):
        if guessed := guess(data):
            decoded = _in(guessed, data)
            if decoded.replaced <= max(1, foreign // ONE_BAD_IN):
                return decoded
    return _in("cp1252", data)


def _in(encoding: str, data: bytes) -> Decoded:
    try:
        return Decoded(text=data.decode(encoding), encoding=encoding)
    except UnicodeDecodeError:
        pass
    try:
        text, replaced = UNDECODED.subn(REPLACEMENT, data.decode(encoding, "surrogateescape"))
    except UnicodeDecodeError:  # UTF-16 can have a bad byte below 0x80, which "surrogateescape" cannot keep
        text = data.decode(encoding, "replace")
        replaced = text.count(REPLACEMENT)
    return Decoded(text=text, encoding=encoding, replaced=replaced)


def _escaped(data: bytes) -> Decoded | None:
    """Decode ISO-2022 and HZ, in which ASCII bytes encode other characters; return None for other text."""
    found = [encoding for escape, encoding in ESCAPES if escape in data]
    if b"~{" in data and _declared(data) == "hz":
        found.append("hz")
    decoded = [_in(encoding, data) for encoding in found]
    return next((one for one in decoded if not one.replaced), None)


def _declared(data: bytes) -> str | None:
    """Return the character set that the document declares; None if it declares no usable set."""
    found = DECLARATION.search(data[:DECLARED_WITHIN])
    if found is None:
        return None
    label = found[found.lastindex or 0].decode("ascii", "replace").lower()
    return _known(LABELS.get(label, label))


def _known(label: str) -> str | None:
    try:
        name = codecs.lookup(label).name
        b"a".decode(name)
    except (LookupError, UnicodeError):  # an unknown name, or a codec that is not a character set ("hex")
        return None
    return None if NOT_DECLARED.match(name) else SUPERSETS.get(name, name)


def _detected(data: bytes) -> str | None:
    sample = _sample(data)
    name, confidence = _likeliest(sample)
    foreign = len(NOT_ASCII.findall(sample))
    if (
        foreign < FEW_CHARACTERS
        and confidence < LOW_CONFIDENCE
        and WESTERN.fullmatch(sample.decode("cp1252", "replace"))
    ):
        return "cp1252"
    if name in MULTI_BYTE:
        return name
    for candidate in MULTI_BYTE:  # check again, because the detector rejects a set for one bad byte
        decoded = _in(candidate, sample)
        if 0 < decoded.replaced <= foreign // ONE_BAD_IN:
            fitting = decoded.text.replace(REPLACEMENT, "").encode(candidate, "ignore")
            found, found_confidence = _likeliest(fitting)
            if found == candidate and found_confidence > confidence:
                name, confidence = found, found_confidence
    return name


def _likeliest(sample: bytes) -> tuple[str | None, float]:
    answer = chardet.detect(
        sample, include_encodings=CANDIDATES, compat_names=False, max_bytes=2 * SAMPLE_BYTES
    )
    return (_known(answer["encoding"]) if answer["encoding"] else None), answer["confidence"]


def _sample(data: bytes) -> bytes:
    """Return the first lines that are not ASCII.

    The search for the byte of a line end is safe, because only UTF-16 and UTF-32 use this byte as a part of
    another character.
    """
    lines, size, place = [], 0, 0
    while size < SAMPLE_BYTES and (found := NOT_ASCII.search(data, place)):
        start = max(data.rfind(b"\n", place, found.start()) + 1, place)
        end = data.find(b"\n", found.end())
        place = len(data) if end < 0 else end + 1
        if found.start() - start > SAMPLE_BYTES:
            start = data.rfind(b" ", start, found.start()) + 1 or start
        lines.append(data[start : min(place, start + SAMPLE_BYTES)])
        size += len(lines[-1])
    return b"".join(lines)
