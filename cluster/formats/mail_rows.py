"""Define the rows of the table of formats for e-mails and mailboxes."""

import re

from cluster.file_beginning import FileBeginning
from cluster.formats.format import DOCUMENT_PURPOSES, Format

MAIL_SUFFIXES = frozenset({"eml"})
#: Matches at least two headers at the beginning of a text. A line that begins with white space continues the
#: header on the line before.
HEADERS = re.compile(rb"\A(?:\xef\xbb\xbf)?(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*){2,}")
#: Headers that only e-mails have. A file whose name does not end in ``.eml`` is an e-mail only if it has one
#: of these headers.
ONLY_MAIL = re.compile(rb"^(?:message-id|mime-version|received|return-path|delivered-to):", re.I | re.M)
#: Matches the line before the first e-mail of a mailbox, and the name of the first header.
MAILBOX_START = re.compile(rb"\AFrom [^\r\n]*\d\d:\d\d[^\r\n]*\d{4}[^\r\n]*\r?\n[!-9;-~]+:")


def _is_mail(beginning: FileBeginning) -> bool:
    if beginning.text is None:
        return False
    headers = HEADERS.match(beginning.text)
    if headers is None:
        return False
    return beginning.suffix in MAIL_SUFFIXES or ONLY_MAIL.search(headers[0]) is not None


MAILS = (
    Format(
        name="mailbox",
        media_type="application/mbox",
        recognises=lambda beginning: MAILBOX_START.match(beginning.text or b"") is not None,
        purposes=DOCUMENT_PURPOSES,
        entries="data_jobs.stages.containers.mailbox",
    ),
    Format(
        name="e-mail",
        media_type="message/rfc822",
        recognises=_is_mail,
        suffixes=MAIL_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.mail.message",
        libraries=("selectolax", "chardet"),
        licence="MIT, 0BSD",
        page="the whole document",
        entries="data_jobs.stages.containers.mail_attachments",
    ),
)
