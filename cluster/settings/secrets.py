"""The key that encrypts secrets in the database."""

from pydantic import SecretStr

from cluster.settings.values import Concern


class SecretSettings(Concern):
    """The key that encrypts secrets in the database."""

    secret_key: SecretStr | None = None
    """The key that encrypts the keys of organisations with remote providers, in the database. Several keys
    are separated by commas: the first encrypts, all decrypt. ``python -m cluster.secrets new-key`` prints a
    new key. Unset: organisations cannot have keys of their own."""
