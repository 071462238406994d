"""The built-in alerter: how often it looks, and where its messages go."""

import base64
import binascii
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from cluster.settings.values import Concern

#: Prefix of the secret of a webhook, and the permitted numbers of its bytes (https://www.standardwebhooks.com).
SECRET_PREFIX, SECRET_BYTES = "whsec_", range(24, 65)


def mail_addresses(listed: object) -> object:
    """Split a text at its commas into mail addresses.

    Raises:
        ValueError: an entry is not a mail address.
    """
    parts = [part.strip() for part in listed.split(",")] if isinstance(listed, str) else listed
    if not isinstance(parts, list | tuple):
        return parts
    for part in parts:
        if part and ("@" not in part or any(sign.isspace() for sign in part)):
            raise ValueError(f"{part!r} is not a mail address, such as ops@example.com")
    return tuple(part for part in parts if part)


MailAddresses = Annotated[tuple[str, ...], NoDecode, BeforeValidator(mail_addresses)]


class AlertSettings(Concern):
    """The built-in alerter: how often it looks, and where its messages go."""

    alerts: bool = True
    """True: one process of the cluster evaluates the rules of alerts and sends messages. False: only
    Prometheus evaluates them, with ``cluster/deploy/alerts.yaml``."""

    alert_period_s: float = Field(default=15.0, ge=0.1, le=60)
    """Seconds between two evaluations of the rules, and between two reports of each process."""

    alert_repeat_s: float = Field(default=14_400.0, ge=0)
    """Seconds after which the message about an alert that still fires is sent again. 0: it is sent once."""

    alert_webhook_url: SecretStr | None = None
    """URL that gets a signed POST request for each message. It is reached like the webhooks of organisations:
    a private address needs ``CLUSTER_OUTBOUND_ALLOW_CIDRS``. The URL is a secret, because it may contain
    one."""

    alert_webhook_secret: SecretStr | None = None
    """Secret that signs these requests: ``whsec_`` and 24 to 64 random bytes in Base64. ``python -m
    cluster.alerts new-secret`` prints one. Needed with ``CLUSTER_ALERT_WEBHOOK_URL``."""

    alert_mail_to: MailAddresses = ()
    """Mail addresses that get each message, separated by commas. They need ``CLUSTER_ALERT_SMTP_HOST`` and
    ``CLUSTER_ALERT_MAIL_FROM``."""

    alert_mail_from: str | None = Field(default=None, pattern=r"^[^\s@]+@[^\s@]+$")
    """Mail address of the sender of these messages."""

    alert_smtp_host: str | None = None
    """Host of the SMTP server that takes these messages."""

    alert_smtp_port: int = Field(default=587, ge=1, le=65_535)
    """Port of the SMTP server."""

    alert_smtp_tls: Literal["starttls", "tls", "off"] = "starttls"
    """``starttls`` encrypts the connection after its start, as port 587 expects, and ``tls`` from its start,
    as port 465 expects. ``off`` encrypts nothing: use it only for a server on the same machine."""

    alert_smtp_user: str | None = None
    """Name of the user at the SMTP server. Unset: the server needs no log-in."""

    alert_smtp_password: SecretStr | None = None
    """Password of this user."""

    @field_validator("alert_webhook_secret")
    @classmethod
    def _secret_has_enough_bytes(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        text = secret.get_secret_value()
        try:
            raw = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raw = b""
        if not text.startswith(SECRET_PREFIX) or len(raw) not in SECRET_BYTES:
            raise ValueError(
                "must be whsec_ and 24 to 64 bytes in Base64; see python -m cluster.alerts new-secret"
            )
        return secret

    @model_validator(mode="after")
    def _channels_are_complete(self) -> Self:
        if self.alert_webhook_url is not None and self.alert_webhook_secret is None:
            raise ValueError(
                "CLUSTER_ALERT_WEBHOOK_URL needs CLUSTER_ALERT_WEBHOOK_SECRET, which signs the requests"
            )
        if self.alert_mail_to and (self.alert_smtp_host is None or self.alert_mail_from is None):
            raise ValueError(
                "CLUSTER_ALERT_MAIL_TO needs CLUSTER_ALERT_SMTP_HOST and CLUSTER_ALERT_MAIL_FROM"
            )
        return self
