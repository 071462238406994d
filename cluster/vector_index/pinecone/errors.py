"""Translate the errors of the package ``pinecone`` into this project's errors.

try:
    client.query(...)
except PineconeError as exc:
    error = translate(exc, "main", key)
"""

from typing import NamedTuple

from pinecone import errors as pinecone_errors

from cluster.errors import (
    ClusterError,
    Misconfigured,
    NotFound,
    Permanent,
    ProviderUnavailable,
    Retryable,
    Throttled,
)
from cluster.retrying import requested_wait_s

#: HTTP statuses after which the same request may succeed later, but for which the package has no class.
TRY_AGAIN = frozenset({408, 425})
#: Maximum number of characters of Pinecone's message that our message repeats.
LONGEST_SENTENCE = 300
#: Maximum number of seconds for which Pinecone can make a request wait.
MAX_RETRY_AFTER_S = 86_400.0


class RequestTooLarge(Permanent):
    """Raised if Pinecone refuses a request because it has too many bytes."""


class Meaning(NamedTuple):
    """The error of this project that replaces an exception of the package."""

    kind: type[ClusterError]
    #: Advice for a person: what to do about the error.
    advice: str = ""


CHECK_KEY = (
    "check the key in the environment variable that key_env of this index in CLUSTER_INDEXES names "
    "(PINECONE_API_KEY by default)"
)
#: Our error for every exception of the package.
TRANSLATIONS: dict[type[pinecone_errors.PineconeError], Meaning] = {
    pinecone_errors.ApiError: Meaning(Permanent),
    pinecone_errors.UnauthorizedError: Meaning(Misconfigured, CHECK_KEY),
    pinecone_errors.ForbiddenError: Meaning(Misconfigured, CHECK_KEY),
    pinecone_errors.PaymentRequiredError: Meaning(
        Misconfigured, "check the plan and the bills of this index's Pinecone account"
    ),
    pinecone_errors.NotFoundError: Meaning(NotFound, "check the host of this index in CLUSTER_INDEXES"),
    pinecone_errors.ConflictError: Meaning(Permanent),
    pinecone_errors.FailedPreconditionError: Meaning(Permanent),
    pinecone_errors.PayloadTooLargeError: Meaning(RequestTooLarge),
    pinecone_errors.RateLimitError: Meaning(Throttled),
    pinecone_errors.ServiceError: Meaning(ProviderUnavailable),
    pinecone_errors.PineconeTimeoutError: Meaning(ProviderUnavailable),
    pinecone_errors.PineconeConnectionError: Meaning(ProviderUnavailable),
    pinecone_errors.ResponseParsingError: Meaning(ProviderUnavailable),  # such as an answer that was cut off
    pinecone_errors.PineconeValueError: Meaning(Permanent),
    pinecone_errors.PineconeTypeError: Meaning(Permanent),
    pinecone_errors.IndexInitFailedError: Meaning(Permanent),
    pinecone_errors.IndexTerminatedError: Meaning(Permanent),
    pinecone_errors.PineconeError: Meaning(Permanent),
}


def translate(exc: pinecone_errors.PineconeError, index: str, key: str) -> ClusterError:
    """Return the error of this project that replaces an error of the package ``pinecone``.

    Raise the returned error without ``exc`` as its cause or context, because Pinecone's message may contain
    the key.

    Args:
        index: name of the index, for the message.
        key: the key of the index, which is removed from Pinecone's message.
    """
    said = str(exc).replace(key, "***")[:LONGEST_SENTENCE]
    sentence = f"the vector index {index!r} on Pinecone says: {said}"
    meaning = next(TRANSLATIONS[kind] for kind in type(exc).__mro__ if kind in TRANSLATIONS)
    if getattr(exc, "status_code", None) in TRY_AGAIN:
        meaning = Meaning(ProviderUnavailable)
    if issubclass(meaning.kind, Retryable):
        return meaning.kind(sentence, retry_after_s=_retry_after_s(exc))
    return meaning.kind(f"{sentence}; {meaning.advice}" if meaning.advice else sentence)


def _retry_after_s(exc: pinecone_errors.PineconeError) -> float | None:
    """Return the seconds to wait from the answer's header ``Retry-After``; None if it has no valid value."""
    headers = getattr(exc, "headers", None) or {}
    return requested_wait_s(headers.get("retry-after"), most_s=MAX_RETRY_AFTER_S)
