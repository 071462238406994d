"""Keys of organisations are encrypted, stay with their organisation, and are shown nowhere."""

import io
import pickle
import sys
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.database import bundled
from cluster.errors import InvalidInput, Misconfigured, NotFound
from cluster.secrets import Secret, find_key, new_key, open_cipher
from cluster.secrets.__main__ import main
from cluster.secrets.provider_keys import delete_key, list_keys, rotate, set_key, undecryptable
from cluster.settings import Settings
from cluster.webhooks.endpoints import NewEndpoint, create_endpoint, delete_endpoint
from tests.keys_in_output import marked_fernet_key, marked_key

KEY = marked_key("sk-")
ENV = "OPENAI_KEY_OF_THIS_TEST"


@pytest.fixture
def secret_key() -> SecretStr:
    return SecretStr(new_key())


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(KEY)

    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", repr({"key": secret})]

    assert not any(KEY in text for text in shown)
    assert secret.reveal() == KEY
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_an_organisations_own_key_comes_before_the_environments(
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    stranger: str,
    secret_key: SecretStr,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_key(pool, organisation, "openai", ENV, secret_key=None) is None
    monkeypatch.setenv(ENV, "sk-of-the-operator")
    set_key(connection, open_cipher(secret_key), organisation, "openai", Secret(KEY))

    assert find_key(pool, organisation, "openai", ENV, secret_key=secret_key) == Secret(KEY)
    assert find_key(pool, stranger, "openai", ENV, secret_key=secret_key) == Secret("sk-of-the-operator")
    assert find_key(pool, organisation, "pinecone", None, secret_key=secret_key) is None


def test_a_stored_key_is_encrypted_and_bound_to_its_organisation(
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    stranger: str,
    secret_key: SecretStr,
) -> None:
    set_key(connection, open_cipher(secret_key), organisation, "openai", Secret(KEY))
    row = connection.execute(
        "SELECT provider_keys::text FROM provider_keys WHERE organisation = %s", [organisation]
    ).fetchone()
    assert row is not None
    assert KEY[-8:] not in row[0]
    connection.execute(
        "INSERT INTO provider_keys SELECT %s, provider, token FROM provider_keys WHERE organisation = %s",
        [stranger, organisation],
    )

    with pytest.raises(Misconfigured, match=f"does not decrypt the openai key of organisation {stranger}"):
        find_key(pool, stranger, "openai", None, secret_key=secret_key)


def test_a_key_needs_the_setting_only_where_an_organisation_has_one(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, secret_key: SecretStr
) -> None:
    set_key(connection, open_cipher(secret_key), organisation, "openai", Secret(KEY))

    with pytest.raises(Misconfigured, match="need CLUSTER_SECRET_KEY"):
        find_key(pool, organisation, "openai", ENV, secret_key=None)
    for wrong in ("short", " , "):
        with pytest.raises(Misconfigured, match="has to hold Fernet keys") as raised:
            open_cipher(SecretStr(wrong))
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__


def test_keys_rotate_without_a_moment_in_which_one_cannot_be_read(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    old, new = new_key(), new_key()
    connection.execute("DELETE FROM provider_keys")  # of other tests, with keys of their own
    set_key(connection, open_cipher(SecretStr(old)), organisation, "openai", Secret(KEY))
    both = SecretStr(f"{new}, {old}")
    assert find_key(pool, organisation, "openai", None, secret_key=both) == Secret(KEY)
    assert undecryptable(connection, open_cipher(SecretStr(new))) == [(organisation, "openai")]

    assert rotate(connection, open_cipher(both)) == 1

    assert find_key(pool, organisation, "openai", None, secret_key=SecretStr(new)) == Secret(KEY)
    assert undecryptable(connection, open_cipher(SecretStr(new))) == []


@pytest.mark.parametrize("key", ["", "two words", "sk-\n", "schlüssel", "x" * 4_097])
def test_what_is_no_key_is_refused_without_being_shown(
    connection: Connection[Any], organisation: str, secret_key: SecretStr, key: str
) -> None:
    with pytest.raises(InvalidInput, match="a key has 1 to") as raised:
        set_key(connection, open_cipher(secret_key), organisation, "openai", Secret(key))
    assert not key or key not in str(raised.value)


def test_names_are_checked(connection: Connection[Any], organisation: str, secret_key: SecretStr) -> None:
    cipher = open_cipher(secret_key)
    with pytest.raises(InvalidInput, match="is not the name of a provider"):
        set_key(connection, cipher, organisation, "Open AI", Secret(KEY))
    with pytest.raises(NotFound, match="there is no organisation nobody"):
        set_key(connection, cipher, "nobody", "openai", Secret(KEY))
    with pytest.raises(NotFound, match=f"organisation {organisation} has no key with openai"):
        delete_key(connection, organisation, "openai")


def test_a_list_shows_the_end_of_long_keys_only(
    connection: Connection[Any], organisation: str, secret_key: SecretStr
) -> None:
    cipher = open_cipher(secret_key)
    set_key(connection, cipher, organisation, "openai", Secret(KEY))
    set_key(connection, cipher, organisation, "pinecone", Secret("0123456789"))

    keys = list_keys(connection, cipher, organisation)
    assert [(key.provider, key.ending) for key in keys] == [("openai", "last"), ("pinecone", "")]
    others = list_keys(connection, open_cipher(SecretStr(new_key())), organisation)
    assert [key.ending for key in others] == [None, None]


def test_the_command_sets_lists_rotates_and_deletes(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection.execute("DELETE FROM provider_keys")  # of other tests, with keys of their own
    connection.execute("DELETE FROM webhook_secrets")
    secret_key = marked_fernet_key()
    monkeypatch.setenv("CLUSTER_DATABASE_URL", bundled.url(settings))
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    whose = ["--organisation", organisation]
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))
    assert main(["set", "openai", *whose]) == 1
    assert "need CLUSTER_SECRET_KEY" in capsys.readouterr().err

    monkeypatch.setenv("CLUSTER_SECRET_KEY", secret_key)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))
    assert main(["set", "openai", *whose]) == 0
    monkeypatch.setenv(ENV, "0123456789abcdefghij")
    assert main(["set", "pinecone", "--from-env", ENV, *whose]) == 0
    hook = NewEndpoint(url="https://hooks.example/", event_types=["job.failed"])
    with connection.transaction():
        made, _ = create_endpoint(connection, open_cipher(SecretStr(secret_key)), organisation, hook, limit=1)
    assert main(["list", *whose]) == 0
    assert main(["rotate"]) == 0
    delete_endpoint(connection, organisation, made.id)
    assert main(["delete", "pinecone", *whose]) == 0
    output = capsys.readouterr()

    found = find_key(pool, organisation, "openai", None, secret_key=SecretStr(secret_key))
    assert found == Secret(KEY)
    assert find_key(pool, organisation, "pinecone", None, secret_key=None) is None
    assert "…last" in output.out
    assert "…ghij" in output.out
    assert "2 keys and 1 secrets of webhooks are encrypted" in output.out
    assert KEY not in output.out + output.err
