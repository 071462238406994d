"""Sends messages about alerts to the log, to a signed webhook, and by mail.

for channel in open_channels(settings):
    channel.send(notice)                          # raises NotSent if the channel fails
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import structlog

from cluster.alerts.mail import MailServer, message_of
from cluster.alerts.notices import AlertNotice
from cluster.errors import Retryable
from cluster.outbound import AsyncOutboundClient
from cluster.secrets import Secret
from cluster.settings import Settings
from cluster.webhooks.sending import event_body, send

log = structlog.get_logger(__name__)

#: Maximum seconds of one request to the webhook, and maximum seconds for each answer of the SMTP server.
TIMEOUT_S = 15.0


class NotSent(Retryable):
    """Raised if a channel could not send a message. The same call may succeed later."""


class AlertChannel(Protocol):
    """Sends messages about alerts to one place, such as the log or a webhook."""

    @property
    def name(self) -> str:
        """Name of the channel in the database and in logs."""

    def send(self, notice: AlertNotice) -> None:
        """Send the message once. The call waits at most ``TIMEOUT_S`` for each answer of a server.

        Raises:
            NotSent: the message may not have arrived.
        """


class LogChannel:
    """Writes each message as a line of the log."""

    name = "log"

    def send(self, notice: AlertNotice) -> None:
        """Write the line with the level ``error`` if a critical alert fires, otherwise with ``warning``."""
        write = log.error if notice.state == "firing" and notice.severity == "critical" else log.warning
        fields: dict[str, Any] = notice.json()
        write(f"alert_{fields.pop('state')}", **fields)


class WebhookChannel:
    """Sends each message as an event of the type ``alert.firing``, ``alert.resolved`` or ``alert.test``. The
    request is signed and goes through the guarded transport (``cluster.outbound``), like the webhooks of
    organisations.

    Args:
        settings: URL, secret, and the limits of the transport.
    """

    name = "webhook"

    def __init__(self, settings: Settings) -> None:
        assert settings.alert_webhook_url is not None
        assert settings.alert_webhook_secret is not None
        self._url = settings.alert_webhook_url.get_secret_value()
        self._secret = Secret(settings.alert_webhook_secret.get_secret_value())
        self._client = AsyncOutboundClient(settings)

    def send(self, notice: AlertNotice) -> None:
        """Send the request.

        Raises:
            NotSent: the receiver did not answer with a status from 200 to 299.
        """
        body = event_body(notice.id, f"alert.{notice.state}", notice.json(), created_at=notice.at)
        result = asyncio.run(
            send(self._client, self._url, notice.id, body, [self._secret], timeout_s=TIMEOUT_S)
        )
        if result.error is not None:
            raise NotSent(result.error, retry_after_s=result.retry_after_s)


class MailChannel:
    """Sends each message as a mail.

    Args:
        settings: the SMTP server, the sender and the receivers.
    """

    name = "mail"

    def __init__(self, settings: Settings) -> None:
        self._server = MailServer(settings, timeout_s=TIMEOUT_S)
        self._from, self._to = settings.alert_mail_from or "", settings.alert_mail_to

    def send(self, notice: AlertNotice) -> None:
        """Send the mail.

        Raises:
            NotSent: the SMTP server could not be reached, or did not accept the mail.
        """
        try:
            self._server.send(message_of(notice, sender=self._from, receivers=self._to))
        except OSError as exc:  # OSError is also the base class of smtplib's errors
            raise NotSent(f"the SMTP server did not take the mail: {exc}") from exc


def channel_names(settings: Settings) -> list[str]:
    """Return the names of the channels that ``open_channels`` opens."""
    return list(_makers(settings))


def open_channels(settings: Settings) -> list[AlertChannel]:
    """Return the channel for the log, and the channels that the settings name."""
    return [make() for make in _makers(settings).values()]


def _makers(settings: Settings) -> dict[str, Callable[[], AlertChannel]]:
    makers: dict[str, Callable[[], AlertChannel]] = {LogChannel.name: LogChannel}
    if settings.alert_webhook_url is not None:
        makers[WebhookChannel.name] = partial(WebhookChannel, settings)
    if settings.alert_mail_to:
        makers[MailChannel.name] = partial(MailChannel, settings)
    return makers
