"""Secrets of webhooks are encrypted, overlap after a rotation, and move to a new key without a gap."""

from typing import Any

import pytest
from psycopg import Connection
from pydantic import SecretStr

from cluster.errors import Misconfigured
from cluster.secrets import Secret, new_key, open_cipher
from cluster.secrets.webhook_secrets import add_secret, rotate, undecryptable, valid_secrets

FIRST, SECOND, THIRD = (Secret(f"whsec_{name}{name}{name}{name}") for name in ("one", "two", "six"))


@pytest.fixture
def endpoint(connection: Connection[Any], organisation: str) -> str:
    """The id of an endpoint without a secret."""
    connection.execute("DELETE FROM webhook_secrets")  # other tests use other keys
    connection.execute(
        "INSERT INTO webhook_endpoints (organisation, id, url, event_types) VALUES (%s, 'we_1', 'u', '{}')",
        [organisation],
    )
    return "we_1"


def test_the_earlier_secret_stays_valid_for_the_overlap_only(
    connection: Connection[Any], organisation: str, endpoint: str
) -> None:
    place = (connection, open_cipher(SecretStr(new_key())), organisation, endpoint)
    add_secret(*place, FIRST)
    add_secret(*place, SECOND, keep_others_s=60)
    assert valid_secrets(*place) == [SECOND, FIRST]
    add_secret(*place, THIRD)
    assert valid_secrets(*place) == [THIRD, FIRST]
    connection.execute("UPDATE webhook_secrets SET expires_at = now() WHERE expires_at IS NOT NULL")
    assert valid_secrets(*place) == [THIRD]


def test_secrets_move_to_a_new_key_and_stay_with_their_endpoint(
    connection: Connection[Any], organisation: str, stranger: str, endpoint: str
) -> None:
    old, new = new_key(), new_key()
    add_secret(connection, open_cipher(SecretStr(old)), organisation, endpoint, FIRST)
    both, only_new = open_cipher(SecretStr(f"{new},{old}")), open_cipher(SecretStr(new))
    assert undecryptable(connection, only_new) == [(organisation, endpoint)]
    with pytest.raises(Misconfigured):
        rotate(connection, only_new)

    assert rotate(connection, both) == 1
    assert valid_secrets(connection, only_new, organisation, endpoint) == [FIRST]
    assert undecryptable(connection, only_new) == []
    row = connection.execute("SELECT token FROM webhook_secrets").fetchone()
    assert row is not None
    assert FIRST.reveal() not in row[0]
    with pytest.raises(Misconfigured):
        only_new.decrypt(row[0], stranger, endpoint)
