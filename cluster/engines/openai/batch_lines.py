"""Write the lines of a file for OpenAI's Batch API, and read the lines of its answers.

line = request_line("chk_1", "Herons stand still.", model="text-embedding-3-small", options={})
answer = read_line(line_of_the_output_file, dim=1_536, account=account)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from cluster.engines.openai.accounts import Account
from cluster.engines.openai.answers import BadAnswer, check_answer, usage_of
from cluster.engines.openai.errors import refusal
from cluster.errors import ClusterError, Misconfigured, ProviderUnavailable

ENDPOINT: Literal["/v1/embeddings"] = "/v1/embeddings"
#: Text that replaces an empty text, because the provider refuses an empty text.
BLANK = " "
#: Error codes of requests that the provider had not begun when the batch of the requests ended (OpenAI,
#: "Batch API": expiration).
NOT_BEGUN = ("batch_expired", "batch_cancelled")


@dataclass(frozen=True, kw_only=True, slots=True)
class LineAnswer:
    """The answer to one request of a batch."""

    #: The request's ``custom_id``.
    id: str
    #: (dim,) float32, unit length; None if the request failed.
    vector: NDArray[np.float32] | None = None
    #: The reason why there is no vector; None if there is a vector. After a ``Retryable`` or a ``BadAnswer``,
    #: the request may succeed in another batch.
    error: ClusterError | None = None
    #: Number of tokens that the provider reports for the request.
    tokens: int = 0


def request_line(id: str, text: str, *, model: str, options: Mapping[str, Any]) -> bytes:
    """Return the line of one request, with its line break.

    Args:
        id: identifies the request in the answers (``custom_id``).
        text: the input.
        model: name of the model at the provider.
        options: further parameters of the request.
    """
    body = {"input": text or BLANK, "model": model, "encoding_format": "base64", **options}
    request = {"custom_id": id, "method": "POST", "url": ENDPOINT, "body": body}
    return orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE)


def read_line(line: bytes, *, dim: int, account: Account) -> LineAnswer:
    """Return the answer on one line of an output file or an error file.

    Args:
        line: the line, JSON.
        dim: count of the numbers that a vector must have.
        account: the account that pays.

    Raises:
        BadAnswer: the line is not a line of the Batch API.
    """
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise BadAnswer(f"a line of the provider's answers is not JSON: {exc}") from exc
    id = found.get("custom_id") if isinstance(found, dict) else None
    if not isinstance(id, str):
        raise BadAnswer("a line of the provider's answers has no custom_id")
    response = found.get("response")
    if not isinstance(response, dict):
        return LineAnswer(id=id, error=_not_answered(found.get("error"), account))
    status, body = response.get("status_code"), response.get("body")
    if status != 200:
        error = body.get("error") if isinstance(body, dict) else None
        details = error if isinstance(error, dict) else {}
        return LineAnswer(id=id, error=refusal(int(status or 500), details, account, headers={}))
    tokens = (usage_of(body) if isinstance(body, dict) else None) or 0
    try:
        (vector,) = check_answer(body, inputs=1, dim=dim).vectors
    except (BadAnswer, Misconfigured) as exc:
        return LineAnswer(id=id, error=exc, tokens=tokens)
    return LineAnswer(id=id, vector=vector, tokens=tokens)


def _not_answered(error: object, account: Account) -> ClusterError:
    details = error if isinstance(error, dict) else {}
    if details.get("code") in NOT_BEGUN or not details:
        return ProviderUnavailable(f"{account.provider} had not begun the request when its batch ended")
    return refusal(500, details, account, headers={})
