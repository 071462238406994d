"""Plain text: its encoding found, its line ends made one kind, characters that no store takes left out."""

import re

from data_jobs.stages.formats.reading import Reading

BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
#: NUL ends strings in C and is refused by Postgres; the other control characters carry no text.
UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff\ufffe\uffff\ud800-\udfff]")


def parse(data: bytes) -> Reading:
    """One page: a text file has no others, unless form feeds divide it."""
    return Reading(pages=[clean(page) for page in decode(data).split("\f")])


def decode(data: bytes) -> str:
    """The bytes as text: by their byte order mark, as UTF-8, or else as Windows-1252, the usual other one."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def clean(text: str) -> str:
    """Without what carries no text; lines end in ``\\n``."""
    return UNWANTED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
