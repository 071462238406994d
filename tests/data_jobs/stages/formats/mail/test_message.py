"""An e-mail becomes the text that a reader sees, in any character set."""

from email.message import EmailMessage

import pytest

from cluster.formats import recognise
from cluster.records import Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, Unreadable
from data_jobs.stages.formats.mail.message import parse

OPTIONS = ParseOptions(max_pages=10)


def text_of(data: bytes) -> str:
    return parse(data, OPTIONS).pages[0]


def test_a_mail_shows_its_headers_its_body_and_the_names_of_its_attachments() -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "Grüße aus Köln", "Jörg <joerg@example.com>"
    message["To"], message["Date"] = "Ann <ann@example.com>", "Mon, 05 Jan 2026 10:00:00 +0100"
    message.set_content("Danke!\n\n> Wann kommst du?\n", charset="iso-8859-1")
    message.add_alternative("<p>Danke, <b>schön</b></p>", subtype="html")
    message.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="Plan ä.pdf")
    output = parse(bytes(message), OPTIONS)
    assert output.pages == [
        "Grüße aus Köln\n\nFrom: Jörg <joerg@example.com>\nTo: Ann <ann@example.com>\n"
        "Date: Mon, 05 Jan 2026 10:00:00 +0100\nAttachments: Plan ä.pdf\n\nDanke!\n\n> Wann kommst du?"
    ]
    assert output.structure[0].blocks[0].level == 1
    assert output.facts == {
        Fact.SUBJECT: "Grüße aus Köln",
        Fact.FROM: "Jörg <joerg@example.com>",
        Fact.SENT: "2026-01-05T09:00:00+00:00",
    }


BODIES = {
    "HTML only": (
        b"Content-Type: text/html; charset=utf-8\n\n<p>Gr\xc3\xbc\xc3\x9fe <i>dir</i></p>",
        "Grüße dir",
    ),
    "no character set": (
        b"Content-Type: text/plain\n\nGr\xfc\xdfe aus M\xfcnchen an alle",
        "Grüße aus München an alle",
    ),
    "an unknown character set": (b"Content-Type: text/plain; charset=x-none\n\nGr\xc3\xbc\xc3\x9fe", "Grüße"),
    "a wrong character set": (b"Content-Type: text/plain; charset=us-ascii\n\nGr\xc3\xbc\xc3\x9fe", "Grüße"),
    "Shift JIS in base64": (
        b"Content-Type: text/plain; charset=shift_jis\nContent-Transfer-Encoding: base64\n\nk/qWe4zq",
        "日本語",
    ),
    "broken base64": (b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nSGVsbG8=!", "Hello"),
    "broken lines of a paragraph": (
        b"Content-Type: text/plain; format=flowed\n\nOne \nparagraph.\n> A \n> quote.\n-- \nAnn",
        "One paragraph.\n> A quote.\n-- \nAnn",
    ),
    "a text that is no alternative": (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nBefore\n--b\n\nAfter\n--b--",
        "Before\n\nAfter",
    ),
    "a signed mail": (
        b"Content-Type: multipart/signed; boundary=b\n\n--b\n\nSigned\n--b\nContent-Type: "
        b"application/pgp-signature; name=s.asc\n\nx\n--b--",
        "Attachments: s.asc\n\nSigned",
    ),
}


@pytest.mark.parametrize(("rest", "text"), BODIES.values(), ids=BODIES)
def test_the_body_is_read_whatever_its_encoding(rest: bytes, text: str) -> None:
    data = b"Subject: x\nMIME-Version: 1.0\n" + rest
    assert recognise(data, name="mail").media_type == "message/rfc822"
    assert text_of(data).removeprefix("x\n\n") == text


HEADERS = {
    "words in two character sets": (b"=?utf-8?B?R3LDvMOfZQ==?= =?iso-8859-1?Q?M=FCller?=", "GrüßeMüller"),
    "raw bytes": (b"Gr\xc3\xbc\xc3\x9fe", "Grüße"),
    "an unknown character set": (b"=?x-none?Q?a=C3=BC?=", "aü"),
    "broken base64": (b"=?utf-8?B?R3L?=", "Gr"),
    "a folded line": (b"one\n two", "one two"),
}


@pytest.mark.parametrize(("raw", "subject"), HEADERS.values(), ids=HEADERS)
def test_a_subject_is_read_whatever_its_encoding(raw: bytes, subject: str) -> None:
    output = parse(b"Subject: " + raw + b"\nDate: never\n\nx", OPTIONS)
    assert output.facts == {Fact.SUBJECT: subject}


def test_an_encrypted_mail_and_a_pile_of_parts_are_refused() -> None:
    with pytest.raises(Unreadable) as refused:
        parse(b"Content-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--", OPTIONS)
    assert refused.value.outcome is Outcome.ENCRYPTED
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2_000)
    )
    with pytest.raises(Unreadable, match="parts inside each other"):
        parse(nested, OPTIONS)


@pytest.mark.parametrize(
    "data",
    [b"Note: this is\nTo: do\n\nSubject: x", b"From the beginning\nof time", b"key: value\nother: value\n"],
)
def test_a_text_that_only_looks_like_a_mail_stays_a_text(data: bytes) -> None:
    assert recognise(data, name="notes.txt").media_type == "text/plain"
