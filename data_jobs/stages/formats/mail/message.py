"""Parse an e-mail into one page: the subject as heading, the other headers, and the text of the body.

Quoted replies are kept. Attachments are not part of the text; ``containers.mail_attachments`` reads them.
"""

from cluster.records import MAX_FACT_LENGTH, Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.mail.mail_headers import header, sent_at
from data_jobs.stages.formats.mail.mail_parts import read_mail
from data_jobs.stages.formats.page_builder import PageBuilder

#: Headers that the text shows, in this order.
SHOWN = ("From", "To", "Cc", "Date")


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse an e-mail.

    Raises:
        Unreadable: the e-mail is encrypted, or has too many parts inside each other.
    """
    mail = read_mail(data)
    message = mail.message
    if mail.encrypted and not any(text.strip() for text in mail.texts):
        raise Unreadable(Outcome.ENCRYPTED, "is an encrypted e-mail")
    page = PageBuilder()
    subject = header(message, "Subject")
    page.heading(subject, level=1)
    lines = [f"{name}: {value}" for name in SHOWN if (value := header(message, name))]
    if mail.attachments:
        lines.append("Attachments: " + ", ".join(attachment.name for attachment in mail.attachments))
    page.paragraph("\n".join(lines))
    for text in mail.texts:
        page.paragraph(text)
    facts: dict[Fact, str | float | bool] = {
        Fact.SUBJECT: subject[:MAX_FACT_LENGTH],
        Fact.FROM: header(message, "From")[:MAX_FACT_LENGTH],
        Fact.SENT: sent_at(message),
    }
    return ParserOutput(
        pages=[page.text()],
        structure=[page.structure()],
        facts={fact: value for fact, value in facts.items() if value},
    )
