"""Define the limits of one API key: rates, and quotas of what the key creates.

``api_keys`` stores the limits. A key with limits is also subject to the limits of its organisation.

    KeyLimits(tokens_per_minute=100_000, files_limit=50).check()
"""

from dataclasses import dataclass, fields

from cluster.errors import InvalidInput

#: Maximum of Postgres' type ``bigint``.
MAX_LIMIT = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyLimits:
    """The limits of one key; None means that the key has no such limit of its own."""

    #: Maximum number of requests in a minute.
    requests_per_minute: int | None = None
    #: Maximum number of tokens that models read for the key in a minute.
    tokens_per_minute: int | None = None
    #: Maximum number of unfinished jobs that the key asked for.
    jobs_limit: int | None = None
    #: Maximum number of files that the key created, pending uploads included.
    files_limit: int | None = None
    #: Maximum number of bytes of these files.
    bytes_limit: int | None = None
    #: Maximum number of vectors in the vector stores that the key created.
    vectors_limit: int | None = None

    def check(self) -> None:
        """Check that each limit is in its range.

        Raises:
            InvalidInput: a limit is outside its range; the message names the limit.
        """
        for name in LIMITS:
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_LIMIT:
                raise InvalidInput(f"{name} is {value}; it must be in 1..{MAX_LIMIT}", param=name)


#: Names of the limits.
LIMITS = tuple(field.name for field in fields(KeyLimits))
