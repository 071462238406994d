"""Decode the headers of an e-mail. Broken headers of real e-mails never raise an exception.

header(message, "Subject")      # "Grüße" for "=?utf-8?Q?Gr=C3=BC=C3=9Fe?="
sent_at(message)                # "2026-01-05T09:00:00+00:00", in UTC
"""

from datetime import UTC
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.page_builder import in_one_line


def header(message: Message, name: str) -> str:
    """Return the value of a header in one line; "" if the e-mail lacks the header."""
    value = message.get(name)
    if value is None:
        return ""
    try:
        parts = decode_header(value)
    except (HeaderParseError, ValueError):
        return in_one_line(_unescaped(str(value)))
    return in_one_line("".join(_decoded(part, charset) for part, charset in parts))


def sent_at(message: Message) -> str:
    """Return the time of the header ``Date`` in ISO 8601 and in UTC, so that times compare as texts; "" if
    there is no valid time.
    """
    try:
        found = parsedate_to_datetime(header(message, "Date"))
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def decoded_bytes(data: bytes, charset: str | None) -> str:
    """Decode bytes with the declared character set. If this set is unknown or wrong, detect the set."""
    if charset:
        try:
            return data.decode(charset)
        except (LookupError, UnicodeError, ValueError):
            pass
    return decode(data).text


def _decoded(part: bytes | str, charset: str | None) -> str:
    if isinstance(part, str):
        return _unescaped(part)
    return decoded_bytes(part, None if charset in {None, "unknown-8bit"} else charset)


def _unescaped(text: str) -> str:
    """Return the text. Bytes that are not ASCII, which the library keeps as surrogates, are decoded."""
    try:
        data = text.encode("ascii", "surrogateescape")
    except UnicodeError:
        return text
    return text if data.isascii() else decode(data).text
