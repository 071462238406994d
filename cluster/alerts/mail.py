"""Sends mails to an SMTP server with the standard library.

mail = message_of(notice, sender="cluster@example.com", receivers=["ops@example.com"])
MailServer(settings, timeout_s=15).send(mail)
"""

import smtplib
import ssl
from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import format_datetime

from cluster.alerts.notices import AlertNotice
from cluster.settings import Settings

#: Maximum number of characters of a subject.
MAX_SUBJECT = 200


def message_of(notice: AlertNotice, *, sender: str, receivers: Iterable[str]) -> EmailMessage:
    """Return the mail about an alert. All attempts to send one notice have the same ``Message-ID``."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, ", ".join(receivers)
    # The title contains labels, which can have line breaks. A header must not have line breaks.
    mail["Subject"] = " ".join(notice.title.split())[:MAX_SUBJECT]
    mail["Date"] = format_datetime(notice.at)
    mail["Message-ID"] = f"<{notice.id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: programs must not answer such a mail
    mail.set_content(notice.text)
    return mail


class MailServer:
    """Sends each mail over a new connection.

    Args:
        settings: the host, port, encryption and log-in of the server.
        timeout_s: seconds within which the server must answer each command.
    """

    def __init__(self, settings: Settings, *, timeout_s: float) -> None:
        self._settings, self._timeout_s = settings, timeout_s

    def send(self, mail: EmailMessage) -> None:
        """Send one mail.

        Raises:
            OSError: the server cannot be reached, its certificate is not valid, or it refuses the mail.
        """
        settings = self._settings
        with self._connected() as server:
            if settings.alert_smtp_tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if settings.alert_smtp_user is not None:
                password = settings.alert_smtp_password
                server.login(
                    settings.alert_smtp_user, "" if password is None else password.get_secret_value()
                )
            server.send_message(mail)

    def _connected(self) -> smtplib.SMTP:
        host, port = self._settings.alert_smtp_host or "", self._settings.alert_smtp_port
        if self._settings.alert_smtp_tls == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(host, port, timeout=self._timeout_s, context=context)
        return smtplib.SMTP(host, port, timeout=self._timeout_s)
