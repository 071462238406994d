"""Encrypts secrets for the database, with the keys in ``CLUSTER_SECRET_KEY``.

The setting holds one or more Fernet keys, separated by commas. The first key encrypts; every key decrypts. To
replace a key, put the new key first, encrypt every secret again (``python -m cluster.secrets rotate``), and
then remove the old key.

    cipher = open_cipher(settings.secret_key)
    token = cipher.encrypt(Secret("sk-..."), "acme", "openai")
"""

import json
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from cluster.errors import Misconfigured
from cluster.secrets.secret import Secret

HOW_TO_MAKE_ONE = "python -m cluster.secrets new-key prints a new one"


class SecretCipher:
    """Encrypts and decrypts secrets. Each encrypted token names its owner, so a token that is copied into
    another organisation's row is refused.
    """

    def __init__(self, keys: Sequence[Fernet]) -> None:
        self._first = keys[0]
        self._all = MultiFernet(keys)

    def encrypt(self, secret: Secret, organisation: str, provider: str) -> str:
        """Return the encrypted token of the secret."""
        content = json.dumps([organisation, provider, secret.reveal()])
        return self._first.encrypt(content.encode()).decode()

    def decrypt(self, token: str, organisation: str, provider: str) -> Secret:
        """Return the secret of the token.

        Raises:
            Misconfigured: no key of the setting decrypts the token, or the token belongs to another owner.
        """
        try:
            owner = json.loads(self._all.decrypt(token))
        except InvalidToken:  # the error below gets no cause, which would show the token
            owner = None
        if not isinstance(owner, list) or owner[:2] != [organisation, provider]:
            raise Misconfigured(
                f"CLUSTER_SECRET_KEY does not decrypt the {provider} key of organisation {organisation}: "
                "add the Fernet key that encrypted it to CLUSTER_SECRET_KEY, or set the provider's key again"
            )
        return Secret(owner[2])


def decrypts(cipher: SecretCipher | None, token: str, organisation: str, provider: str) -> bool:
    """Return True if the cipher decrypts the token; False if there is no cipher."""
    if cipher is None:
        return False
    try:
        cipher.decrypt(token, organisation, provider)
    except Misconfigured:
        return False
    return True


def open_cipher(secret_key: SecretStr | None) -> SecretCipher:
    """Return the cipher of the setting ``secret_key``.

    Raises:
        Misconfigured: the setting is missing or empty, or one of its keys is not valid.
    """
    if secret_key is None:
        raise Misconfigured(
            f"keys of organisations need CLUSTER_SECRET_KEY, which encrypts them; {HOW_TO_MAKE_ONE}"
        )
    texts = [text.strip() for text in secret_key.get_secret_value().split(",") if text.strip()]
    try:
        return SecretCipher([Fernet(text) for text in texts])
    except (ValueError, IndexError):
        raise Misconfigured(
            "CLUSTER_SECRET_KEY has to hold Fernet keys (32 bytes in URL-safe base64), separated by commas; "
            f"{HOW_TO_MAKE_ONE}"
        ) from None  # no cause, because the cause would show the key


def new_key() -> str:
    """Return a new random key for ``CLUSTER_SECRET_KEY``."""
    return Fernet.generate_key().decode()
