"""Translate the errors of the package openai into the errors of this project.

try:
    await client.embeddings.create(...)
except OpenAIError as exc:
    raise translated(exc, account) from exc
"""

import re
from collections.abc import Mapping
from typing import Any, Protocol

import openai

from cluster.errors import (
    ClusterError,
    InvalidInput,
    Misconfigured,
    Permanent,
    ProviderUnavailable,
    Throttled,
)
from cluster.event_counts import THROTTLED_CALLS
from cluster.retrying import bounded_wait_s, requested_wait_s

#: HTTP statuses that mean that the key, the rights of the account, or the model is wrong.
REFUSED = (401, 403, 404)
#: HTTP statuses after which the same request may succeed later. This is also true for status 429 and for all
#: statuses from 500 on.
MAY_PASS = (408, 409, 425)
#: Codes with which a provider says that the account has no money left.
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
#: Maximum pause in seconds that a header can ask for. A longer pause is shortened to this number.
LONGEST_PAUSE_S = 86_400.0
#: Maximum number of characters of the provider's message that our message repeats.
LONGEST_SENTENCE = 300
#: Pattern of one part of a duration such as ``1m0.5s`` or ``6ms``: a number and a unit.
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
#: Seconds of each unit of a duration.
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
#: Maximum number of digits of an amount that a header reports. Longer amounts are ignored.
MAX_DIGITS = 15

#: Every class of error in the package that a request for embeddings can raise. A test compares the list with
#: the package, so that a new class is noticed.
TRANSLATED: tuple[type[Exception], ...] = (
    openai.OpenAIError,
    openai.APIError,
    openai.APIStatusError,
    openai.APIConnectionError,
    openai.APITimeoutError,
    openai.APIResponseValidationError,
    openai.AuthenticationError,
    openai.BadRequestError,
    openai.ConflictError,
    openai.InternalServerError,
    openai.NotFoundError,
    openai.PermissionDeniedError,
    openai.RateLimitError,
    openai.UnprocessableEntityError,
)


class ProviderAccess(Protocol):
    """What the messages of errors say about a request: who answers it, and with which key it was sent."""

    @property
    def provider(self) -> str:
        """Name of the provider."""

    @property
    def whose_key(self) -> str:
        """Owner of the key, such as "the key of organisation acme"."""

    @property
    def secrets(self) -> list[str]:
        """The texts that must not be in any message."""

    @property
    def setting(self) -> str:
        """The setting that names the model, such as ``CLUSTER_MODELS``."""

    @property
    def task(self) -> str:
        """The task for which the key needs a right, such as ``embed``."""


def translated(exc: Exception, account: ProviderAccess) -> ClusterError:
    """Return our error for an error of the package, or for a time-out. The message of our error never
    contains the key.
    """
    if isinstance(exc, openai.APIStatusError):
        error = exc.body if isinstance(exc.body, dict) else {"code": exc.code, "type": exc.type}
        return refusal(exc.status_code, error, account, headers=exc.response.headers)
    if isinstance(exc, openai.APITimeoutError | TimeoutError):
        return ProviderUnavailable(f"{account.provider} has not answered in time")
    if isinstance(exc, openai.APIConnectionError):
        cause = type(exc.__cause__ or exc).__name__
        return ProviderUnavailable(f"{account.provider} cannot be reached, or broke the connection ({cause})")
    if isinstance(exc, openai.APIError) and isinstance(exc.body, dict):
        # An error inside a stream, whose HTTP status was 200. vLLM writes the status into ``code``.
        code = exc.body.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        return refusal(status, exc.body, account, headers={})
    return ProviderUnavailable(f"the request to {account.provider} failed ({type(exc).__name__})")


def refusal(
    status: int, error: Mapping[str, Any], account: ProviderAccess, *, headers: Mapping[str, str]
) -> ClusterError:
    """Return our error for an answer that is not a success.

    Args:
        status: the HTTP status.
        error: the provider's error object, with ``message``, ``code`` and ``type``.
        account: the account whose request failed.
        headers: the headers of the answer.
    """
    provider, said = account.provider, _sentence(error, account)
    if (status == 429 and error.get("code") in NO_MONEY) or error.get("type") in NO_MONEY:
        return Misconfigured(
            f"the account of {account.whose_key} at {provider} has no money or quota left ({said}); "
            "add some, or use another key"
        )
    if status in REFUSED:
        remedy = {
            401: "set a valid key",
            403: f"give the key the right to {account.task}, or use another key",
            404: f"correct the model's name or base_url in {account.setting}, or give the key the right to "
            "the model",
        }[status]
        return Misconfigured(f"{provider} refuses {account.whose_key} with HTTP {status} ({said}); {remedy}")
    wait_s = retry_after_s(headers)
    if status == 429:
        THROTTLED_CALLS.add(provider)
        return Throttled(f"{provider} asks to send less ({said})", retry_after_s=wait_s)
    if status >= 500 or status in MAY_PASS:
        return ProviderUnavailable(f"{provider} answers with HTTP {status} ({said})", retry_after_s=wait_s)
    if status in (400, 413, 422):
        return InvalidInput(f"{provider} refuses the input with HTTP {status} ({said})")
    return Permanent(f"{provider} refuses the request with HTTP {status} ({said})")


def _sentence(error: Mapping[str, Any], account: ProviderAccess) -> str:
    """Return the provider's message, shortened and without the key. Some providers repeat the key in their
    message.
    """
    return without_keys(str(error.get("message") or error.get("code") or "no reason given"), account)


def without_keys(sentence: str, account: ProviderAccess) -> str:
    """Return a sentence of the provider without the key, shortened and on one line."""
    text = " ".join(sentence.split())
    for secret in account.secrets:
        text = text.replace(secret, "***")
    text = re.sub(r"\bsk-[\w*-]+", "***", text)
    return text[:LONGEST_SENTENCE]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the pause that the provider asks for, in seconds; None if the provider asks for no pause."""
    try:
        wait_s = float(headers["retry-after-ms"]) / 1_000
    except (KeyError, ValueError):
        return requested_wait_s(headers.get("retry-after"), most_s=LONGEST_PAUSE_S)
    return bounded_wait_s(wait_s, most_s=LONGEST_PAUSE_S)


def remaining(headers: Mapping[str, str]) -> tuple[dict[str, int], dict[str, float]]:
    """Return two dictionaries for requests and tokens: the amount that the provider still allows, and the
    seconds until the provider allows the whole limit again.

    The headers for tokens are ``x-ratelimit-remaining-tokens`` and ``x-ratelimit-reset-tokens``. The headers
    for requests end in ``requests``. A value that is missing or invalid in the headers is missing in the
    dictionaries.
    """
    left: dict[str, int] = {}
    reset_s: dict[str, float] = {}
    for name in ("requests", "tokens"):
        amount, reset = headers.get(f"x-ratelimit-remaining-{name}"), headers.get(f"x-ratelimit-reset-{name}")
        if amount is not None and amount.strip().isdecimal() and len(amount) <= MAX_DIGITS:
            left[name] = int(amount)
            if reset is not None and (parts := DURATION.findall(reset)):
                reset_s[name] = sum(float(number) * SECONDS[unit] for number, unit in parts)
    return left, reset_s
