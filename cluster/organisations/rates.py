"""Describe how much an organisation or one API key may ask for in a minute.

``cluster.keys.known_keys`` reads the rates with the keys, and puts them into the caller of each request. The
endpoint checks them (``serve_app.embedding.rate_gate``).

    Rates.of_organisation("acme", requests=600, tokens=None)
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """The rates of one organisation or of one key."""

    #: Name under which the replicas count the rates together.
    name: str
    #: The organisation or key, as an error names it.
    owner: str
    #: Maximum number of requests in a minute; None: no limit.
    requests: int | None
    #: Maximum number of tokens in a minute; None: no limit.
    tokens: int | None

    @classmethod
    def of_organisation(cls, organisation: str, *, requests: int | None, tokens: int | None) -> Self | None:
        """Return the rates of the organisation; None if it has none. A rate of 0 means no limit, too."""
        if not requests and not tokens:
            return None
        return cls(
            name=organisation,
            owner=f"organisation {organisation}",
            requests=requests or None,
            tokens=tokens or None,
        )

    @classmethod
    def of_key(cls, organisation: str, key: str, *, requests: int | None, tokens: int | None) -> Self | None:
        """Return the rates of the key; None if it has none."""
        if requests is None and tokens is None:
            return None
        return cls(name=f"{organisation}/{key}", owner=f"the API key {key}", requests=requests, tokens=tokens)
