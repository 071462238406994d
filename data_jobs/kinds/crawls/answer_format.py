"""Recognise the format of a server's answer by its bytes, its URL and the header ``Content-Type``.

format_of_answer(answer, "https://example.com/a.pdf").media_type       # "application/pdf"
charset_of(answer)                                                     # "iso-8859-1"
"""

import re
from urllib.parse import urlsplit

from cluster.formats import Format, format_of, recognise
from cluster.outbound import OutboundAnswer

HTML = "text/html"
#: Suffixes of the URLs of documents. A document may be larger than a page.
DOCUMENT_SUFFIXES = frozenset(
    "pdf doc docx ppt pptx xls xlsx odt odp ods rtf epub zip tar gz tgz bz2 xz mbox eml csv tsv jsonl".split()
)
CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)


def is_document(url: str) -> bool:
    """Return True if the suffix of the URL says that the URL names a document, and not a page."""
    return urlsplit(url).path.rpartition(".")[2].lower() in DOCUMENT_SUFFIXES


def format_of_answer(answer: OutboundAnswer, url: str) -> Format:
    """Return the format of the answer's body. The bytes and the URL decide; the header ``Content-Type`` only
    decides whether a text without a recognised format is HTML.
    """
    format = recognise(answer.body, name=urlsplit(url).path)
    declared = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_plain = format.media_type == "text/plain"
    return format_of(HTML) if is_plain and declared in {HTML, "application/xhtml+xml"} else format


def charset_of(answer: OutboundAnswer) -> str | None:
    """Return the character set that the header ``Content-Type`` names; None if the header names no set."""
    found = CHARSET.search(answer.headers.get("content-type", ""))
    return None if found is None else found[1]
