"""Examines the first bytes of a file and the end of its name, from which ``formats`` recognises the format.

    beginning = FileBeginning.of(b"%PDF-1.7 ...", name="anything.txt")
    beginning.is_pdf           # True
    beginning.text             # the bytes as UTF-8; None for a binary file

A text that begins with the first letters of another format, such as "%PDF-", or that has some control
characters, is still recognised as text.
"""

import codecs
import re
from dataclasses import dataclass
from typing import Self

from cluster.text.wide_text import unmarked_encoding
from cluster.zip_marks import LOCAL_MARK, zip_type

#: Number of bytes at the start of a file that decide its format. In a document that is a ZIP file, a preview
#: picture may precede the entry that decides.
SNIFFED_BYTES = 64 * 1024
#: Number of bytes at the start that are examined in a file that is not a ZIP file.
EXAMINED_BYTES = 4096
#: A PDF may have junk before its header, so PDF readers search this many bytes for the header.
PDF_HEADER_WITHIN = 1024
#: Matches the beginning of an HTML page, which an XML declaration and comments may precede. A comment ends
#: only at the first ``-->``. The atomic group ensures this, because with backtracking, thirty comments would
#: take an hour.
HTML_START = re.compile(
    rb"^\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
PDF_MARK = b"%PDF-"
#: The header of a PDF on a line of its own. A comment may follow the header on this line.
PDF_HEADER = re.compile(rb"%PDF-\d\.\d[ \t]*(?:%[^\r\n]*)?(?=[\r\n]|$)")
#: Comments and the first object, which follow the header of a PDF.
PDF_BODY = re.compile(rb"\s*(?:%[^\r\n]*[\r\n]+\s*)*(?:\d+\s+\d+\s+obj\b|$)")
CODE_FENCE = b"```"

UTF_8_MARK = codecs.BOM_UTF8
WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
#: Control characters, except white space, backspace and escape. Printed manual pages and terminal logs have
#: many backspaces and escapes.
CONTROL = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
#: Four NUL bytes in a row, which no text has. Single NUL bytes may separate parts of a text.
NUL_PADDING = re.compile(rb"\x00{4}")
#: End-of-file marks of older systems, and the NULs that a system crash leaves at the end of a log.
END_MARKS = b"\x00\x1a"
#: Maximum share of control characters: first in UTF-8 text, then in text of another character set. Compressed
#: data has a share of 0.1.
MAX_CONTROLS_IN_UTF_8, MAX_CONTROLS_IN_OTHERS = 0.3, 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBeginning:
    """The beginning of one file, examined once for all formats."""

    #: The first ``EXAMINED_BYTES`` bytes.
    start: bytes
    #: The file name after its last full stop, in lower case.
    suffix: str
    #: The start as UTF-8; text in an 8-bit character set is not converted. None for a binary file.
    text: bytes | None
    #: True for text that begins with the markup of an HTML page.
    is_html: bool
    #: Media type of a document that is a ZIP file; "" for any other file.
    zip_type: str = ""

    @classmethod
    def of(cls, data: bytes, *, name: str) -> Self:
        """Examine a file.

        Args:
            data: the file, or its first ``SNIFFED_BYTES`` bytes.
            name: the file's name.
        """
        suffix = name.rpartition(".")[2].lower()
        start = data[:EXAMINED_BYTES]
        if start.startswith(LOCAL_MARK):
            return cls(start=start, suffix=suffix, text=None, is_html=False, zip_type=zip_type(data))
        text = _as_utf_8(start)
        is_html = text is not None and HTML_START.match(text) is not None
        return cls(start=start, suffix=suffix, text=text, is_html=is_html)

    @property
    def is_xml(self) -> bool:
        """True for text that begins with an XML declaration."""
        return self.text is not None and self.text.lstrip().startswith(b"<?xml ")

    @property
    def is_pdf(self) -> bool:
        """True for a PDF, even if junk precedes its header; False for text that only mentions the mark of a
        PDF.
        """
        if self.is_html:
            return False
        position = self.start.find(PDF_MARK, 0, PDF_HEADER_WITHIN)
        if position < 0 or self.text is None:
            return position >= 0
        header = PDF_HEADER.match(self.start, position)
        if header is None:
            return False
        before = self.start[:position].removeprefix(UTF_8_MARK)
        if not before.strip():
            return True
        begins_a_line = before[-1:] < b" " and before[-1:] != b"\t"
        has_body = PDF_BODY.match(self.start, header.end()) is not None
        return begins_a_line and CODE_FENCE not in before and has_body


def _as_utf_8(start: bytes) -> bytes | None:
    if start.startswith(UTF_8_MARK):
        return start[len(UTF_8_MARK) :]
    encoding = next(
        (encoding for mark, encoding in WIDE_MARKS.items() if start.startswith(mark)), None
    ) or unmarked_encoding(start)
    if encoding is not None:
        return start.decode(encoding, "ignore").encode("utf-8", "ignore")
    text = start.rstrip(END_MARKS)
    controls = len(CONTROL.findall(text))
    if controls == 0:
        return text if text or not start else None
    if NUL_PADDING.search(text):
        return None
    if _is_utf_8(text):
        return text if controls <= len(text) * MAX_CONTROLS_IN_UTF_8 else None
    return text if controls <= max(1, len(text) * MAX_CONTROLS_IN_OTHERS) else None


def _is_utf_8(start: bytes) -> bool:
    """True if the bytes are UTF-8. The last character may be incomplete."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True
