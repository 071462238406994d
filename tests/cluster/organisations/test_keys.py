"""A key acts for one organisation, and only its hash is kept."""

from hashlib import sha256

import pytest
from pydantic import SecretStr

from cluster.organisations.keys import Keys, open_keys
from cluster.settings import Settings

KEYS = Keys(
    {sha256(b"sk-first-key").digest(): "acme", sha256(b"sk-second-key").digest(): "globex"}, without_key=None
)


@pytest.mark.parametrize(
    ("key", "organisation"),
    [
        (b"sk-first-key", "acme"),
        (b"sk-second-key", "globex"),
        (b"sk-second-ke", None),
        (b"", None),
        (sha256(b"sk-first-key").digest(), None),
    ],
    ids=["first", "second", "shorter", "empty", "the hash itself"],
)
def test_a_key_acts_for_its_organisation_and_no_other(key: bytes, organisation: str | None) -> None:
    assert KEYS.organisation_for(key) == organisation


def test_the_settings_key_acts_for_the_settings_organisation() -> None:
    keys = open_keys(Settings(organisation="acme", api_key=SecretStr("sk-größe-0123")))
    assert keys.without_key is None
    assert keys.organisation_for("sk-größe-0123".encode()) == "acme"
    assert keys.organisation_for("sk-größe-0123".encode("latin-1")) is None


def test_without_a_key_in_the_settings_every_request_acts_for_their_organisation() -> None:
    assert open_keys(Settings(organisation="acme")).without_key == "acme"


def test_no_key_is_kept_in_clear() -> None:
    keys = open_keys(Settings(api_key=SecretStr("sk-secret-0123456789")))
    assert "sk-secret" not in repr(vars(keys))
