"""The state of the simulator: models, keys, limits a minute, counted tokens, and the vector of each text."""

import hashlib
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

from cluster.engines.tokens.cl100k import encoding, require_file
from tests.openai_contract import FILE, document

MODELS = {"text-embedding-3-small": 1_536, "text-embedding-3-large": 3_072, "text-embedding-ada-002": 1_536}
MAX_INPUTS, MAX_TOKENS, MAX_INPUT_TOKENS = 2_048, 300_000, 8_191


def vector_of(text: str, dim: int) -> NDArray[np.float32]:
    """The vector that the simulator gives this text: pseudo-random, of unit length."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Requests and tokens that one key may send in a window."""

    requests: int = 1_000_000
    tokens: int = 1_000_000_000
    window_s: float = 60.0


class Refused(Exception):
    """An answer with OpenAI's error object."""

    def __init__(self, status: int, message: str, *, type: str, code: str | None, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, {name.replace("_", "-"): one for name, one in headers.items()}
        self.body = {"error": {"message": message, "type": type, "param": None, "code": code}}


@dataclass
class Provider:
    """The state of one simulated provider. The server calls it from several threads."""

    models: dict[str, int] = field(default_factory=lambda: dict(MODELS))
    #: Accepted keys; None: any.
    keys: set[str] | None = None
    limits: Limits = field(default_factory=Limits)
    #: Tokens and requests of answers that were sent whole, by key.
    answered_tokens: Counter[str] = field(default_factory=Counter)
    answered_requests: Counter[str] = field(default_factory=Counter)
    #: Tokens that the provider would bill, lost answers included.
    billed_tokens: int = 0
    #: Requests refused because of the limits.
    over_limit: int = 0
    #: Every accepted request: time, key, inputs, tokens.
    accepted: list[tuple[float, str, list[str], int]] = field(default_factory=list)
    #: Every request that counted towards the limits: time and tokens.
    counted: list[tuple[float, int]] = field(default_factory=list)
    #: What a request broke of OpenAI's own description.
    complaints: list[str] = field(default_factory=list)
    _window: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, key: str, body: dict[str, Any], *, fails: bool = False) -> tuple[list[str], int, int]:
        """The texts of a valid request, the length of its vectors and its tokens.

        A request that fails counts towards the limits, too (OpenAI, "Rate limits": unsuccessful requests
        contribute to the limit).
        """
        self.require_key(key)
        texts, dim, tokens = self.read(body)
        self._take(key, tokens)
        self.counted.append((time.monotonic(), tokens))
        if not fails:
            self.accepted.append((time.monotonic(), key, texts, tokens))
        return texts, dim, tokens

    def require_key(self, key: str) -> None:
        """Refuse an unknown key."""
        if self.keys is not None and key not in self.keys:
            raise Refused(
                401,
                f"Incorrect API key provided: {key}.",
                type="invalid_request_error",
                code="invalid_api_key",
            )

    def read(self, body: dict[str, Any]) -> tuple[list[str], int, int]:
        """Return the texts of a valid request, the length of its vectors and the number of its tokens. Rate
        limits are not checked.
        """
        self._check(body)
        texts, dim = self._texts(body), self.models.get(body["model"])
        if dim is None:
            raise Refused(
                404,
                f"The model `{body['model']}` does not exist or you do not have access to it.",
                type="invalid_request_error",
                code="model_not_found",
            )
        if "dimensions" in body and "-3-" not in body["model"]:
            raise _invalid("This model does not support specifying dimensions.")
        return texts, min(dim, body.get("dimensions") or dim), self._tokens(texts)

    def _check(self, body: dict[str, Any]) -> None:
        if FILE.exists():
            schema = {
                "$ref": "#/components/schemas/CreateEmbeddingRequest",
                "components": document()["components"],
            }
            found = [error.message for error in Draft202012Validator(schema).iter_errors(body)]
            self.complaints += found
            if found:
                raise _invalid(found[0])

    def _texts(self, body: dict[str, Any]) -> list[str]:
        given = body["input"]
        texts = [given] if isinstance(given, str) else given
        if not all(isinstance(text, str) for text in texts):
            raise _invalid("this simulator takes texts only")
        if not 1 <= len(texts) <= MAX_INPUTS or "" in texts:
            raise _invalid(f"'$.input' is invalid: 1 to {MAX_INPUTS} texts, none of them empty.")
        return list(texts)

    def _tokens(self, texts: list[str]) -> int:
        vocabulary = encoding(require_file(None))
        counts = [len(vocabulary.encode_ordinary(text)) for text in texts]
        if max(counts) > MAX_INPUT_TOKENS:
            raise _invalid(
                f"This model's maximum context length is {MAX_INPUT_TOKENS} tokens, however you requested "
                f"{max(counts)} tokens."
            )
        if sum(counts) > MAX_TOKENS:
            raise _invalid(f"Requested {sum(counts)} tokens, max {MAX_TOKENS} tokens per request")
        return sum(counts)

    def _take(self, key: str, tokens: int) -> None:
        now = time.monotonic()
        with self._lock:
            window = self._window.setdefault(key, deque())
            while window and window[0][0] <= now - self.limits.window_s:
                window.popleft()
            used = sum(one for _, one in window)
            if len(window) + 1 > self.limits.requests or used + tokens > self.limits.tokens:
                self.over_limit += 1
                wait_s = window[0][0] + self.limits.window_s - now if window else self.limits.window_s
                raise Refused(
                    429,
                    f"Rate limit reached: {used} of {self.limits.tokens} tokens used",
                    type="tokens",
                    code="rate_limit_exceeded",
                    retry_after_ms=f"{wait_s * 1000:.0f}",
                )
            window.append((now, tokens))
            self.billed_tokens += tokens

    def left(self, key: str) -> dict[str, str]:
        """The headers about what is left of the limits."""
        with self._lock:
            window = self._window.get(key, deque())
            used = sum(one for _, one in window)
            reset = f"{self.limits.window_s * 1000:.0f}ms"
            return {
                "x-ratelimit-limit-requests": str(self.limits.requests),
                "x-ratelimit-limit-tokens": str(self.limits.tokens),
                "x-ratelimit-remaining-requests": str(max(0, self.limits.requests - len(window))),
                "x-ratelimit-remaining-tokens": str(max(0, self.limits.tokens - used)),
                "x-ratelimit-reset-requests": reset,
                "x-ratelimit-reset-tokens": reset,
            }

    def answered(self, key: str, tokens: int) -> None:
        """Count an answer that was sent whole."""
        with self._lock:
            self.answered_tokens[key] += tokens
            self.answered_requests[key] += 1


def _invalid(message: str) -> Refused:
    return Refused(400, message, type="invalid_request_error", code=None)
