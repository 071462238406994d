"""What a file is, by its bytes; its name only decides between kinds of text.

media_type(b"%PDF-1.7 ...", name="anything.txt")   # "application/pdf"
"""

import re

PDF, HTML, MARKDOWN, PLAIN, BINARY = "application/pdf", "text/html", "text/markdown", "text/plain", "application/octet-stream"
PNG, JPEG, GIF, WEBP = "image/png", "image/jpeg", "image/gif", "image/webp"

#: A PDF may carry junk before its header; readers look this far.
PDF_HEADER_WITHIN = 1024
SNIFFED = 4096
MAGIC = {
    b"PK\x03\x04": "application/zip",
    b"\xd0\xcf\x11\xe0": "application/x-ole-storage",
    b"\x89PNG": PNG,
    b"\xff\xd8\xff": JPEG,
    b"GIF8": GIF,
    b"\x1f\x8b": "application/gzip",
    b"\x7fELF": "application/x-executable",
    b"{\\rtf": "application/rtf",
}
#: A comment ends at its first end and nowhere else (an atomic group): tried at every further one, thirty comments take an hour.
HTML_START = re.compile(rb"^\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
UNICODE_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def media_type(data: bytes, *, name: str) -> str:
    """The file's media type; BINARY for what is no text and nothing known."""
    start = data[:SNIFFED]
    if b"%PDF-" in start[:PDF_HEADER_WITHIN]:
        return PDF
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return WEBP
    for magic, type in MAGIC.items():
        if start.startswith(magic):
            return type
    if not start.startswith(UNICODE_MARKS) and CONTROL.search(start):
        return BINARY
    suffix = name.rpartition(".")[2].lower()
    if HTML_START.match(start) or suffix in {"html", "htm", "xhtml"}:
        return HTML
    return MARKDOWN if suffix in {"md", "markdown"} else PLAIN
