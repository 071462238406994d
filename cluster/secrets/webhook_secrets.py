"""Store the secrets with which webhook requests are signed, encrypted in the database.

An endpoint has one current secret. After a rotation, the previous secret may stay valid for some time.

    add_secret(connection, cipher, "acme", "we_1", secret, keep_others_s=86_400)
    secrets = valid_secrets(connection, cipher, "acme", "we_1")
"""

from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.secrets.cipher import SecretCipher, decrypts
from cluster.secrets.secret import Secret

SQL = queries("cluster.secrets", "webhook_secrets.sql")
#: Number of last characters of a secret that people can see.
HINT_CHARACTERS = 4


def add_secret(
    connection: Connection[Any],
    cipher: SecretCipher,
    organisation: str,
    endpoint: str,
    secret: Secret,
    *,
    keep_others_s: float = 0,
) -> None:
    """Make ``secret`` the current secret of the endpoint, in the caller's transaction.

    Args:
        keep_others_s: seconds for which the secret that was current until now stays valid. Older secrets stay
            valid only for the rest of their own time.
    """
    values = {
        "organisation": organisation,
        "endpoint": endpoint,
        "keep_others_s": keep_others_s,
        "token": cipher.encrypt(secret, organisation, endpoint),
        "hint": secret.reveal()[-HINT_CHARACTERS:],
    }
    connection.execute(SQL["retire"], values)
    connection.execute(SQL["delete_expired"], values)
    connection.execute(SQL["add"], values)


def valid_secrets(
    connection: Connection[Any], cipher: SecretCipher, organisation: str, endpoint: str
) -> list[Secret]:
    """Return the secrets that are valid now, the current one first.

    Raises:
        Misconfigured: ``CLUSTER_SECRET_KEY`` does not decrypt one of the secrets.
    """
    rows = connection.execute(SQL["valid"], {"organisation": organisation, "endpoint": endpoint})
    return [cipher.decrypt(token, organisation, endpoint) for (token,) in rows.fetchall()]


def rotate(connection: Connection[Any], cipher: SecretCipher) -> int:
    """Encrypt every secret of every endpoint with the first key of ``CLUSTER_SECRET_KEY``, and return the
    number of secrets.

    Raises:
        Misconfigured: a secret cannot be decrypted. Then no secret is changed.
    """
    with connection.transaction():
        rows = connection.execute(SQL["list_of_all"]).fetchall()
        for organisation, endpoint, number, token in rows:
            secret = cipher.decrypt(token, organisation, endpoint)
            values = {
                "organisation": organisation,
                "endpoint": endpoint,
                "number": number,
                "token": cipher.encrypt(secret, organisation, endpoint),
            }
            connection.execute(SQL["replace"], values)
    return len(rows)


def undecryptable(connection: Connection[Any], cipher: SecretCipher | None) -> list[tuple[str, str]]:
    """Return organisation and endpoint of each secret that the cipher cannot decrypt. If there is no cipher,
    no secret can be decrypted.
    """
    return [
        (organisation, endpoint)
        for organisation, endpoint, _, token in connection.execute(SQL["list_of_all"]).fetchall()
        if not decrypts(cipher, token, organisation, endpoint)
    ]
