"""The Content-Disposition of a form's part, in every spelling that browsers and clients use.

disposition(b'form-data; name="file"; filename="gr\\xc3\\xb6sse %22A%22.pdf"')    # Disposition(name="file", filename='grösse "A".pdf')
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from cluster.errors import InvalidInput

#: ``; key="quoted"``, a quoted string that never ends (a browser leaves a backslash at its end as it is), or ``; key=token``.
PARAMETER = re.compile(rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|"(.*)|([^;]*+))', re.DOTALL)
#: A quoted string holds a quote as ``%22`` (browsers, the WHATWG's rules for form-data) or as ``\"`` (older curl, Go), a line break as
#: ``%0D%0A``, and a backslash as itself or doubled. Nothing else is an escape: ``100%25.txt`` is called so.
ESCAPE = re.compile(rb'\\(["\\])|%(22|0D|0A)', re.IGNORECASE)
EXTENDED = re.compile(r"([\w.:+-]+)'[^']*'(.*)", re.DOTALL)
LATIN_1 = frozenset({"iso-8859-1", "latin-1", "latin1", "windows-1252"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Disposition:
    """What a part of a form says of itself."""

    #: Of the field.
    name: str
    #: None where the part is no file; as it was sent, see ``cluster.documents.file_names``.
    filename: str | None


def disposition(header: bytes) -> Disposition:
    """The header's value, read.

    ``filename*`` (RFC 8187) goes before ``filename``, which many clients send beside it for older servers. A plain name that is not
    UTF-8 is read as Latin-1.

    Raises:
        InvalidInput: the part has no name, or its only file name is in a form that nothing here reads.
    """
    found: dict[bytes, bytes] = {}
    for key, quoted, unended, token in PARAMETER.findall(header):
        value = _unescaped(quoted) or _unescaped(unended.rstrip().removesuffix(b'"')) or token.strip()
        found.setdefault(key.lower(), value)
    if b"name" not in found:
        raise InvalidInput(
            'a part of the form has no name: its Content-Disposition must say form-data; name="..."'
        )
    return Disposition(
        name=text(found[b"name"]), filename=_filename(found.get(b"filename*"), found.get(b"filename"))
    )


def text(data: bytes) -> str:
    """A name or a value of the form.

    Raises:
        InvalidInput: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise InvalidInput("the form's names and fields must be UTF-8") from exc


def _filename(extended: bytes | None, plain: bytes | None) -> str | None:
    if extended is not None:
        decoded = _extended(extended)
        if decoded is not None:
            return decoded
        if plain is None:
            message = f"the form's filename* is {extended.decode('latin-1')!r}; write it as UTF-8''name, each byte that is no letter as %XX"
            raise InvalidInput(message, param="file")
    if plain is None:
        return None
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return _latin_1(plain)


def _extended(value: bytes) -> str | None:
    """``UTF-8'en'na%C3%AFve.txt``; None for another character set or bytes that are not of the one it names."""
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
    """What says that it is Latin-1 is windows-1252 on the web (the Encoding Standard's labels); its five gaps are controls in both."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _unescaped(quoted: bytes) -> bytes:
    return ESCAPE.sub(lambda escape: escape[1] or unquote_to_bytes(escape[0]), quoted)
