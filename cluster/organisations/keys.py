"""API keys, and the organisation that each key acts for.

Called by the HTTP endpoint on every request, so ``organisation_for`` uses no database and never blocks.

    keys = open_keys(settings)
    keys.organisation_for(b"sk-...")        # "acme"; None for a key that does not exist
"""

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest

from cluster.settings import Settings


class Keys:
    """Finds the organisation of a key. Keeps only SHA-256 hashes of keys, and compares hashes in constant
    time.

    Args:
        organisations: SHA-256 of each key -> the organisation that the key acts for.
        without_key: the organisation that every request acts for; None: each request needs a key.
    """

    def __init__(self, organisations: Mapping[bytes, str], *, without_key: str | None) -> None:
        self._organisations = dict(organisations)
        self.without_key = without_key

    def organisation_for(self, key: bytes) -> str | None:
        """Return the organisation that the key acts for; None if there is no such key."""
        digest, found = sha256(key).digest(), None
        for known, organisation in self._organisations.items():
            if compare_digest(digest, known):
                found = organisation
        return found


def open_keys(settings: Settings) -> Keys:
    """Read the API key from the settings. It acts for the settings' organisation.

    If the settings have no key, every request acts for that organisation.
    """
    if settings.api_key is None:
        return Keys({}, without_key=settings.organisation)
    digest = sha256(settings.api_key.get_secret_value().encode()).digest()
    return Keys({digest: settings.organisation}, without_key=None)
