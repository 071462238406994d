"""Sign webhook requests as *Standard Webhooks* describes (https://www.standardwebhooks.com, version 1).

OpenAI's clients check such signatures with ``client.webhooks.unwrap(body, headers, secret=...)``.

    headers = signed_headers("evt_1", body, [secret], at=1_700_000_000)
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from cluster.secrets import Secret

PREFIX = "whsec_"
#: Number of random bytes of a secret. The specification permits 24 to 64.
SECRET_BYTES = 32


def new_secret() -> Secret:
    """Return a new random secret."""
    return Secret(PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode())


def signed_headers(id: str, body: bytes, keys: Sequence[Secret], *, at: int) -> dict[str, str]:
    """Return the three headers that sign a request.

    Args:
        id: id of the event; it is the same for every attempt, so that receivers recognise a repetition.
        body: body of the request.
        keys: the current secret, and the previous one while both are valid. Each secret gives one signature.
        at: time of the attempt, in seconds since 1970. Receivers refuse a request whose time is minutes ago.
    """
    signed = f"{id}.{at}.".encode() + body
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{_signature(key, signed)}" for key in keys),
    }


def _signature(key: Secret, signed: bytes) -> str:
    raw = base64.b64decode(key.reveal().removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(raw, signed, hashlib.sha256)).decode()
