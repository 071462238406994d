"""Divide an e-mail into the text that a reader sees and its attachments.

mail = read_mail(data)
mail.texts           # the parts of the body, in order
mail.attachments     # name and bytes of each attachment
"""

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.errors import MessageError
from email.message import Message
from email.parser import BytesParser

from cluster.records import Outcome
from data_jobs.stages.formats.contract import Unreadable
from data_jobs.stages.formats.html import read_page
from data_jobs.stages.formats.mail.mail_headers import decoded_bytes, header

#: Alternatives of a body. Plain text is preferred, because it has fewer repetitions and pictures.
TEXT, HTML = "text/plain", "text/html"
#: Maximum number of parts inside each other.
MAX_NESTING = 50
#: Media types of encrypted e-mails.
ENCRYPTED = frozenset({"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})
MESSAGE = "message/rfc822"
#: Line before the signature in a text (RFC 3676, 4.3). This line ends in a space, but the next line does not
#: continue it.
SIGNATURE = "-- "


@dataclass(frozen=True, slots=True)
class MailAttachment:
    """An attachment of an e-mail."""

    name: str
    data: bytes


@dataclass(slots=True)
class Mail:
    """An e-mail."""

    message: Message
    #: The texts of the body that a reader sees, in order.
    texts: list[str] = field(default_factory=list)
    attachments: list[MailAttachment] = field(default_factory=list)
    encrypted: bool = False


def read_mail(data: bytes) -> Mail:
    """Read an e-mail.

    Raises:
        Unreadable: too many parts are inside each other.
    """
    try:
        message = BytesParser(policy=policy.compat32).parsebytes(data)
        mail = Mail(message)
        _add(mail, message, depth=0)
    except RecursionError as exc:
        raise Unreadable(Outcome.CORRUPT, "has too many parts inside each other") from exc
    return mail


def _add(mail: Mail, part: Message, *, depth: int) -> None:
    """Add the part and the parts inside it."""
    if depth > MAX_NESTING:
        raise Unreadable(Outcome.CORRUPT, f"has more than {MAX_NESTING} parts inside each other")
    kind = part.get_content_type()
    if kind in ENCRYPTED and "signed" not in str(part.get_param("smime-type", "")):
        mail.encrypted = True
    elif kind == MESSAGE:
        mail.attachments += _forwarded(part)
    elif not part.is_multipart():
        _add_leaf(mail, part, kind)
    elif kind == "multipart/alternative":
        _add_alternative(mail, part, depth=depth)
    else:
        for inner in _inner(part):
            _add(mail, inner, depth=depth + 1)


def _add_alternative(mail: Mail, part: Message, *, depth: int) -> None:
    """Add the first alternative with a text, plain text before HTML. Add the attachments of all alternatives,
    because some programs put attachments into an alternative.
    """
    found = []
    for inner in _inner(part):
        other = Mail(mail.message)
        _add(other, inner, depth=depth + 1)
        mail.attachments += other.attachments
        mail.encrypted |= other.encrypted
        if any(text.strip() for text in other.texts):
            found.append((inner.get_content_type() != TEXT, other.texts))
    if found:
        mail.texts += min(found, key=lambda one: one[0])[1]


def _add_leaf(mail: Mail, part: Message, kind: str) -> None:
    disposition, name = part.get_content_disposition(), _name(part)
    if kind in {TEXT, HTML} and disposition != "attachment" and not name:
        mail.texts.append(_text(part, kind))
        return
    # A picture inside the text, such as a logo in the signature, is part of the layout and no attachment.
    if kind.startswith("image/") and disposition != "attachment" and part.get("Content-ID"):
        return
    data = _payload(part)
    if data and (name or disposition == "attachment" or not kind.startswith("text/")):
        suffix = mimetypes.guess_extension(kind) or ""
        name = name or f"attachment {len(mail.attachments) + 1}{suffix}"
        mail.attachments.append(MailAttachment(name, data))


def _forwarded(part: Message) -> Iterator[MailAttachment]:
    for inner in _inner(part):
        try:
            data = inner.as_bytes()
        except (MessageError, ValueError, LookupError, TypeError, AttributeError):
            continue  # the e-mail is so broken that the library cannot write it again
        subject = header(inner, "Subject").replace("/", "-")[:80]
        yield MailAttachment(_name(part) or f"{subject or 'forwarded message'}.eml", data)


def _inner(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []


def _name(part: Message) -> str:
    """Return the file name of the part in any of the encodings that programs use; "" without a name."""
    try:
        name = part.get_filename()
    except (ValueError, LookupError, TypeError):
        return ""
    if not name:
        return ""
    shown = Message()
    shown["name"] = name.replace("\r", " ").replace("\n", " ")
    return header(shown, "name").replace("\\", "/").rpartition("/")[2]


def _payload(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _text(part: Message, kind: str) -> str:
    charset = part.get_content_charset()
    text = decoded_bytes(_payload(part), charset)
    if kind == HTML:
        return read_page(text).text
    if str(part.get_param("format", "")).lower() == "flowed":
        return _unflowed(text, delete_space=str(part.get_param("delsp", "")).lower() == "yes")
    return text


def _unflowed(text: str, *, delete_space: bool) -> str:
    """Join the lines of a paragraph that a program has broken (RFC 3676)."""
    lines: list[str] = []
    depth_before, continues = 0, False
    for line in text.replace("\r\n", "\n").split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:].removeprefix(" ")
        flows = content.endswith(" ") and content != SIGNATURE
        shown = content[:-1] if flows and delete_space else content
        if continues and depth == depth_before:
            lines[-1] += shown
        else:
            lines.append((">" * depth + " " if depth else "") + shown)
        depth_before, continues = depth, flows
    return "\n".join(lines)
