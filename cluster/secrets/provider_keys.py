"""Store the keys that organisations have for remote providers, encrypted in the database.

Engines and vector indexes look a key up with ``find_key``; ``python -m cluster.secrets`` sets and lists keys.

    key = find_key(pool, "acme", "openai", "OPENAI_API_KEY", secret_key=settings.secret_key)
"""

import os
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection, IntegrityError
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import for_organisation, translated
from cluster.database.queries import queries
from cluster.errors import InvalidInput, Misconfigured, NotFound
from cluster.secrets.cipher import SecretCipher, decrypts, open_cipher
from cluster.secrets.secret import Secret

SQL = queries("cluster.secrets", "provider_keys.sql")
PROVIDER = re.compile(r"[a-z][a-z0-9-]{0,63}")
#: Maximum length of a key in characters.
MAX_KEY_CHARACTERS = 4_096
KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARACTERS}}}")
#: Number of last characters of a key that a list shows.
SHOWN_CHARACTERS = 4
#: Minimum length of a key whose last characters are shown.
MIN_SHOWN_KEY = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderKey:
    """A stored key, without its value."""

    organisation: str
    provider: str
    updated_at: datetime
    #: Last characters of the key; empty for a short key, None if the key cannot be decrypted.
    ending: str | None


def find_key(
    pool: ConnectionPool,
    organisation: str,
    provider: str,
    env_name: str | None,
    *,
    secret_key: SecretStr | None,
) -> Secret | None:
    """Return the organisation's own key for the provider. If the organisation has no key, return the key in
    the environment variable. If the variable is missing too, return None.

    Args:
        pool: connections to the database.
        organisation: id of the organisation.
        provider: kind of the provider, such as ``openai``.
        env_name: name of an environment variable with the operator's key; None if there is no such variable.
        secret_key: the setting of the same name.

    Raises:
        Misconfigured: the organisation has a key that the setting cannot decrypt.
        Unavailable: the database does not answer.
    """
    with for_organisation(organisation), translated(), pool.connection() as connection:
        row = connection.execute(SQL["find"], {"organisation": organisation, "provider": provider}).fetchone()
    if row is not None:
        return open_cipher(secret_key).decrypt(row[0], organisation, provider)
    text = os.environ.get(env_name, "").strip() if env_name else ""
    return Secret(text) if text else None


def set_key(
    connection: Connection[Any], cipher: SecretCipher, organisation: str, provider: str, key: Secret
) -> None:
    """Encrypt and store the organisation's key for the provider, in place of any earlier key.

    Raises:
        InvalidInput: the provider's name or the key is not valid.
        NotFound: there is no such organisation.
    """
    if not PROVIDER.fullmatch(provider):
        raise InvalidInput(
            f"{provider!r} is not the name of a provider: write small letters, digits and hyphens",
            param="provider",
        )
    if not KEY.fullmatch(key.reveal()):
        raise InvalidInput(
            f"a key has 1 to {MAX_KEY_CHARACTERS:,} printable ASCII characters without spaces", param="key"
        )
    values = {
        "organisation": organisation,
        "provider": provider,
        "token": cipher.encrypt(key, organisation, provider),
    }
    try:
        connection.execute(SQL["set"], values)
    except IntegrityError:
        raise NotFound(f"there is no organisation {organisation}") from None


def list_keys(connection: Connection[Any], cipher: SecretCipher, organisation: str) -> list[ProviderKey]:
    """Return the organisation's keys without their values, ordered by provider."""
    rows = connection.execute(SQL["list"], {"organisation": organisation}).fetchall()
    return [
        ProviderKey(
            organisation=organisation,
            provider=provider,
            updated_at=updated_at,
            ending=_ending(cipher, token, organisation, provider),
        )
        for organisation, provider, token, updated_at in rows
    ]


def delete_key(connection: Connection[Any], organisation: str, provider: str) -> None:
    """Delete the organisation's key for the provider.

    Raises:
        NotFound: the organisation has no such key.
    """
    gone = connection.execute(SQL["delete"], {"organisation": organisation, "provider": provider})
    if gone.rowcount == 0:
        raise NotFound(f"organisation {organisation} has no key with {provider}")


def rotate(connection: Connection[Any], cipher: SecretCipher) -> int:
    """Encrypt every key of every organisation with the first key of ``CLUSTER_SECRET_KEY``, and return the
    number of keys.

    A key that another process sets at the same time is not overwritten.

    Raises:
        Misconfigured: a key cannot be decrypted. Then no key is changed.
    """
    with connection.transaction():
        rows = connection.execute(SQL["list_all"]).fetchall()
        for organisation, provider, token, _ in rows:
            secret = cipher.decrypt(token, organisation, provider)
            values = {
                "organisation": organisation,
                "provider": provider,
                "old": token,
                "token": cipher.encrypt(secret, organisation, provider),
            }
            connection.execute(SQL["replace"], values)
    return len(rows)


def undecryptable(connection: Connection[Any], cipher: SecretCipher | None) -> list[tuple[str, str]]:
    """Return organisation and provider of every key that the cipher cannot decrypt. If there is no cipher, no
    key can be decrypted.
    """
    return [
        (organisation, provider)
        for organisation, provider, token, _ in connection.execute(SQL["list_all"]).fetchall()
        if not decrypts(cipher, token, organisation, provider)
    ]


def _ending(cipher: SecretCipher, token: str, organisation: str, provider: str) -> str | None:
    try:
        text = cipher.decrypt(token, organisation, provider).reveal()
    except Misconfigured:
        return None
    return text[-SHOWN_CHARACTERS:] if len(text) >= MIN_SHOWN_KEY else ""
