"""Reads the Content-Disposition header of one part of a form, in every notation that clients use.

parse_disposition(b'form-data; name="file"; filename="a %22b%22.pdf"')
# Disposition(name="file", filename='a "b".pdf')
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from cluster.errors import InvalidInput

#: One parameter: ``; key="quoted"`` or ``; key=token``. The closing quote may seem to be missing, because
#: browsers do not escape a backslash, so a backslash before the closing quote looks like an escaped quote.
PARAMETER = re.compile(rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|"(.*)|([^;]*+))', re.DOTALL)
#: Escapes in a quoted string. Browsers write a quote as ``%22`` and a line break as ``%0D%0A`` (the WHATWG's
#: rules for form data). Older curl and Go write ``\"`` for a quote, and two backslashes for one backslash.
#: Other percent signs are kept, so the name ``100%25.txt`` does not change.
ESCAPE = re.compile(rb'\\(["\\])|%(22|0D|0A)', re.IGNORECASE)
EXTENDED = re.compile(r"([\w.:+-]+)'[^']*'(.*)", re.DOTALL)
LATIN_1 = frozenset({"iso-8859-1", "latin-1", "latin1", "windows-1252"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Disposition:
    """The names in the Content-Disposition of a part."""

    #: Name of the form's field.
    name: str
    #: File name as the client sent it (``cluster.documents.file_names`` cleans it); None if the part is not a
    #: file.
    filename: str | None


def parse_disposition(header: bytes) -> Disposition:
    """Return the names in the value of the header.

    ``filename*`` (RFC 8187) takes precedence over ``filename``, which many clients also send for older
    servers. A ``filename*`` that cannot be decoded is ignored if there is a ``filename``. A ``filename`` that
    is not UTF-8 is read as Latin-1.

    Raises:
        InvalidInput: the part has no name, its name is not UTF-8, or its only file name cannot be decoded.
    """
    found: dict[bytes, bytes] = {}
    for key, quoted, unclosed, token in PARAMETER.findall(header):
        value = _unescaped(quoted) or _unescaped(unclosed.rstrip().removesuffix(b'"')) or token.strip()
        found.setdefault(key.lower(), value)
    if b"name" not in found:
        raise InvalidInput(
            'a part of the form has no name: its Content-Disposition must say form-data; name="..."'
        )
    return Disposition(
        name=decode_utf8(found[b"name"]), filename=_filename(found.get(b"filename*"), found.get(b"filename"))
    )


def decode_utf8(data: bytes) -> str:
    """Decode a name or a value in the form from UTF-8.

    Raises:
        InvalidInput: the bytes are not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise InvalidInput("a name or a value in the form is not UTF-8; encode the form as UTF-8") from exc


def _filename(extended: bytes | None, plain: bytes | None) -> str | None:
    if extended is not None:
        decoded = _extended(extended)
        if decoded is not None:
            return decoded
        if plain is None:
            message = (
                f"the form's filename* is {extended.decode('latin-1')!r}, which cannot be decoded;"
                " write it as UTF-8''name, with each byte that is not an ASCII letter as %XX"
            )
            raise InvalidInput(message, param="file")
    if plain is None:
        return None
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return _latin_1(plain)


def _extended(value: bytes) -> str | None:
    """Decode an RFC 8187 value such as ``UTF-8'en'na%C3%AFve.txt``. Return None if the value is not valid."""
    parts = EXTENDED.fullmatch(value.decode("latin-1"))
    if parts is None:
        return None
    data = unquote_to_bytes(parts[2].encode("latin-1"))
    if parts[1].lower() in LATIN_1:
        return _latin_1(data)
    try:
        return data.decode() if parts[1].lower() in {"utf-8", "utf8", "us-ascii"} else None
    except UnicodeDecodeError:
        return None


def _latin_1(data: bytes) -> str:
    """Decode a text in Latin-1. The text is read as windows-1252, as the WHATWG Encoding Standard requires,
    or as Latin-1 if it has bytes that windows-1252 does not define.
    """
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _unescaped(quoted: bytes) -> bytes:
    return ESCAPE.sub(lambda escape: escape[1] or unquote_to_bytes(escape[0]), quoted)
