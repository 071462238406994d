"""What a file is, by its bytes; its name only decides between kinds of text.

media_type(b"%PDF-1.7 ...", name="anything.txt")   # "application/pdf"

Text may begin with what marks another format, mention it, or hold some control characters: it is still text.
"""

import codecs
import re

from cluster.text.wide_text import unmarked

PDF, HTML, MARKDOWN, PLAIN, BINARY = (
    "application/pdf",
    "text/html",
    "text/markdown",
    "text/plain",
    "application/octet-stream",
)
PNG, JPEG, GIF, WEBP = "image/png", "image/jpeg", "image/gif", "image/webp"

#: A PDF may carry junk before its header; readers look this far.
PDF_HEADER_WITHIN = 1024
SNIFFED = 4096
MAGIC = {
    b"PK\x03\x04": "application/zip",
    b"\xd0\xcf\x11\xe0": "application/x-ole-storage",
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\xff\xd8\xff": JPEG,
    b"\x1f\x8b": "application/gzip",
    b"\x7fELF": "application/x-executable",
    b"!<arch>\n": "application/x-archive",
}
#: Formats that begin with letters: what follows tells them from a text about them.
LETTERS = (
    (re.compile(rb"GIF8[79]a(?:$|.{0,6}[\x00-\x08\x0e-\x1f\x80-\xff])", re.DOTALL), GIF),
    (re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL), WEBP),
    (re.compile(rb"RIFF(?=.{0,3}[\x00-\x1f\x80-\xff]).{4}[A-Z]{3}[A-Z ]", re.DOTALL), BINARY),
    (re.compile(rb"\{\\rtf\d*\s*[\\{]"), "application/rtf"),
    (re.compile(rb".{257}ustar[\x00 ]", re.DOTALL), "application/x-tar"),
)
#: A comment ends at its first end and nowhere else (an atomic group): tried at every further one, thirty comments take an hour.
HTML_START = re.compile(
    rb"^\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
HTML_SUFFIXES, MARKDOWN_SUFFIXES = (
    frozenset({"html", "htm", "xhtml", "xht", "shtml"}),
    frozenset({"md", "markdown"}),
)
PDF_MARK = b"%PDF-"
#: The header as a line of its own, with a comment or without.
PDF_HEADER = re.compile(rb"%PDF-\d\.\d[ \t]*(?:%[^\r\n]*)?(?=[\r\n]|$)")
#: What follows a PDF's header: comments, and the first object.
PDF_BEGINNING = re.compile(rb"\s*(?:%[^\r\n]*[\r\n]+\s*)*(?:\d+\s+\d+\s+obj\b|$)")
CODE_FENCE = b"```"

UTF_8_MARK = codecs.BOM_UTF8
WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
#: Not backspace and escape: printed manual pages and terminals' logs are full of them.
CONTROL = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
#: Text may be divided by NULs, but is not padded with them.
NULS = re.compile(rb"\x00{4}")
#: End marks of older systems, and what a system crash leaves of a log.
ENDINGS = b"\x00\x1a"
#: The largest share of control characters in text whose bytes are UTF-8, and in other text. Compressed data has 0.1.
CONTROLS_IN_UTF_8, CONTROLS_IN_OTHERS = 0.3, 0.02


def media_type(data: bytes, *, name: str) -> str:
    """The file's media type; BINARY for what is no text and nothing known."""
    start = data[:SNIFFED]
    text = _as_utf_8(start)
    markup = text is not None and HTML_START.match(text) is not None
    if not markup and _is_pdf(start, is_text=text is not None):
        return PDF
    for magic, type in MAGIC.items():
        if start.startswith(magic):
            return type
    for beginning, type in LETTERS:
        if beginning.match(start):
            return type
    if text is None:
        return BINARY
    suffix = name.rpartition(".")[2].lower()
    if markup or suffix in HTML_SUFFIXES:
        return HTML
    return MARKDOWN if suffix in MARKDOWN_SUFFIXES else PLAIN


def _as_utf_8(start: bytes) -> bytes | None:
    """The text that a file begins with; None where it begins with no text. An 8-bit text stays as it is."""
    if start.startswith(UTF_8_MARK):
        return start[len(UTF_8_MARK) :]
    encoding = next(
        (encoding for mark, encoding in WIDE_MARKS.items() if start.startswith(mark)), None
    ) or unmarked(start)
    if encoding is not None:
        return start.decode(encoding, "ignore").encode("utf-8", "ignore")
    text = start.rstrip(ENDINGS)
    controls = len(CONTROL.findall(text))
    if controls == 0:
        return text if text or not start else None
    if NULS.search(text):
        return None
    if _is_utf_8(text):
        return text if controls <= len(text) * CONTROLS_IN_UTF_8 else None
    return text if controls <= max(1, len(text) * CONTROLS_IN_OTHERS) else None


def _is_utf_8(start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def _is_pdf(start: bytes, *, is_text: bool) -> bool:
    """True for a PDF, junk before its header or not; False for a text that mentions one."""
    place = start.find(PDF_MARK, 0, PDF_HEADER_WITHIN)
    if place < 0 or not is_text:
        return place >= 0
    header = PDF_HEADER.match(start, place)
    if header is None:
        return False
    before = start[:place].removeprefix(UTF_8_MARK)
    if not before.strip():
        return True
    begins_a_line = before[-1:] < b" " and before[-1:] != b"\t"
    return begins_a_line and CODE_FENCE not in before and PDF_BEGINNING.match(start, header.end()) is not None
