"""Read the e-mails of a mailbox in the format mbox (RFC 4155).

The name of an e-mail is made from its date, its subject and its bytes. So an e-mail keeps its name when other
e-mails are added to the mailbox or removed from it.
"""

import re
from collections.abc import Iterator
from email import policy
from email.parser import BytesHeaderParser
from hashlib import sha256

from data_jobs.stages.containers.contract import EntryBudget, FoundEntry
from data_jobs.stages.formats.mail.mail_headers import header, sent_at

#: The line before each e-mail. This line begins the file or follows a blank line. Also, the line holds a time
#: and a year, or the next line is a header, because a paragraph of an e-mail can begin with "From", too.
SEPARATOR = re.compile(
    rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From "
    rb"(?=[^\r\n]*\d:\d\d[^\r\n]*\d{4}|[^\r\n]*\r?\n[!-9;-~]+:)[^\r\n]*\r?\n"
)
#: A line of an e-mail that looked like a separator, so that a program put ``>`` before the line.
QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
HEADERS_END = re.compile(rb"\r?\n\r?\n")
#: Number of characters of the subject, and of hexadecimal digits of the digest, in the name of an e-mail.
SUBJECT_CHARACTERS, DIGEST_DIGITS = 60, 8
NOT_IN_A_NAME = re.compile(r'[/\\:*?"<>|]+')


def entries(data: bytes, _: str, budget: EntryBudget) -> Iterator[FoundEntry]:
    """Yield the e-mails in their order.

    Raises:
        OverLimit: the mailbox is over a limit.
    """
    places = [(found.start(), found.end()) for found in SEPARATOR.finditer(data)]
    budget.require(len(places))
    ends = [*(place[0] for place in places[1:]), len(data)]
    for (_separator, start), end in zip(places, ends, strict=True):
        # The blank lines before the next separator belong to the mailbox, so they are not part of the e-mail.
        message = QUOTED.sub(rb"\1", data[start:end]).rstrip(b"\r\n") + b"\n"
        budget.take(len(message))
        path = _name(message)
        if len(message) > budget.limits.entry_bytes:
            yield budget.too_large(path)
        elif message.strip():
            yield FoundEntry(path=path, data=message)


def _name(message: bytes) -> str:
    headers_end = HEADERS_END.search(message)
    block = message if headers_end is None else message[: headers_end.end()]
    headers = BytesHeaderParser(policy=policy.compat32).parsebytes(block)
    subject = NOT_IN_A_NAME.sub("-", header(headers, "Subject"))[:SUBJECT_CHARACTERS].strip(" .")
    digest = sha256(message).hexdigest()[:DIGEST_DIGITS]
    return " ".join(filter(None, [sent_at(headers)[:10], subject, digest])) + ".eml"
