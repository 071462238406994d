"""Read the attachments of an e-mail as the entries of a container. Forwarded e-mails are attachments, too."""

from collections.abc import Iterator

from data_jobs.stages.containers.contract import EntryBudget, FoundEntry
from data_jobs.stages.formats.mail.mail_parts import read_mail


def entries(data: bytes, _: str, budget: EntryBudget) -> Iterator[FoundEntry]:
    """Yield the attachments in their order.

    Raises:
        Unreadable: the e-mail has too many parts inside each other.
        OverLimit: the attachments are over a limit.
    """
    for attachment in read_mail(data).attachments:
        budget.take(len(attachment.data))
        if len(attachment.data) > budget.limits.entry_bytes:
            yield budget.too_large(attachment.name)
        else:
            yield FoundEntry(path=attachment.name, data=attachment.data)
