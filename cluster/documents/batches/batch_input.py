"""Read the input file of a batch: one request on each line, in JSON.

    {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "...", "input": "a text"}}

``check_input`` reads the file before a batch begins. A line that is not a request makes the batch fail, as in
OpenAI's API. If only the content of a request's body is wrong, the batch does not fail, and the answer to the
request is an error. Only one line is in memory at a time.

    found = check_input(file, max_line_bytes=1_000_000)
    for request in read_requests(file, first_line=1, max_line_bytes=1_000_000): ...
"""

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, BinaryIO

import numpy as np

from cluster.text.read_json import UnreadableJson, read_json
from cluster.text.well_formed import well_formed

#: The only path whose requests a batch can hold.
ENDPOINT = "/v1/embeddings"
#: Maximum number of requests of a batch, and maximum number of inputs of all these requests together. Both
#: are OpenAI's limits.
MAX_REQUESTS, MAX_INPUTS = 50_000, 50_000
#: Maximum number of bytes of an input file. This is OpenAI's limit.
MAX_FILE_BYTES = 200_000_000
#: Maximum number of errors that a failed batch lists.
MAX_ERRORS = 1_000
#: Maximum number of characters of a ``custom_id``.
MAX_CUSTOM_ID = 512
#: Maximum number of arrays and objects on one line. This protects the memory, because an empty array takes
#: two bytes in the file, and about a hundred times as many in memory.
MAX_CONTAINERS = 1_000_000
#: Number of bytes of the hash that is kept for each ``custom_id`` while the file is checked.
HASH_BYTES = 16
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True, slots=True)
class InputError:
    """One error in the input file of a batch."""

    #: Error code, which programs can test.
    code: str
    #: Error message, a sentence for people.
    message: str
    #: Number of the line, from 1; None if the error is about the whole file.
    line: int | None = None
    #: Name of the wrong field of the line.
    param: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedInput:
    """The result of checking an input file."""

    #: Number of requests.
    requests: int
    #: The errors in the order of the lines, at most ``MAX_ERRORS``. If there is any error, the batch fails.
    errors: list[InputError]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestLine:
    """One request of the input file."""

    #: Number of the line, from 1.
    number: int
    custom_id: str
    #: The whole line.
    data: bytes
    #: Number of inputs of the request; 1 if its body has no list of inputs.
    inputs: int


class BadLine(ValueError):
    """Raised if a line is not a request."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param = code, param


def check_input(file: BinaryIO, *, max_line_bytes: int) -> CheckedInput:
    """Read the file, and return the number of its requests and its errors. Reading stops early if there are
    too many requests or errors.

    Args:
        file: the input file, at its beginning.
        max_line_bytes: maximum number of bytes of one line.
    """
    errors: list[InputError] = []
    hashes, numbers = bytearray(), array("I")
    requests = inputs = 0
    for number, line in _lines(file, max_line_bytes):
        requests += 1
        if requests > MAX_REQUESTS:
            break
        try:
            request = _request(number, line, max_line_bytes)
        except BadLine as exc:
            errors.append(InputError(code=exc.code, message=str(exc), line=number, param=exc.param))
            if len(errors) == MAX_ERRORS:
                return CheckedInput(requests=requests, errors=errors)
            continue
        inputs += request.inputs
        hashes += blake2b(request.custom_id.encode(), digest_size=HASH_BYTES).digest()
        numbers.append(number)
    errors += _repeated(hashes, numbers) + _wrong_size(requests, inputs)
    errors.sort(key=lambda error: error.line or 0)
    return CheckedInput(requests=requests, errors=errors[:MAX_ERRORS])


def read_requests(file: BinaryIO, *, first_line: int, max_line_bytes: int) -> Iterator[RequestLine]:
    """Yield the requests of a checked file, from the line ``first_line`` to the end.

    Args:
        file: the input file, at its beginning.
        first_line: number of the first line to return, from 1.
        max_line_bytes: maximum number of bytes of one line.
    """
    for number, line in _lines(file, max_line_bytes):
        if number >= first_line:
            yield _request(number, line, max_line_bytes)


def _lines(file: BinaryIO, max_line_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each line that is not empty. If a line is too long, only its
    beginning is yielded.
    """
    number = 0
    while line := file.readline(max_line_bytes + 1):
        number += 1
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(max_line_bytes + 1)):
            pass
        line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _request(number: int, line: bytes, max_line_bytes: int) -> RequestLine:
    """Return the request on the line.

    Raises:
        BadLine: the line is not a request.
    """
    if len(line) > max_line_bytes:
        raise BadLine(
            "line_too_long",
            f"This line has more than {max_line_bytes:,} bytes (CLUSTER_MAX_REQUEST_BYTES). "
            "Divide its inputs among several requests.",
        )
    if line.count(b"[") + line.count(b"{") > MAX_CONTAINERS:
        raise BadLine("line_too_long", f"This line has more than {MAX_CONTAINERS:,} lists and objects.")
    try:
        value = read_json(line)
    except (json.JSONDecodeError, UnreadableJson) as exc:
        reason = f": {exc}." if isinstance(exc, UnreadableJson) else "."
        raise BadLine("invalid_json_line", f"This line is not parseable as valid JSON{reason}") from exc
    if not isinstance(value, dict):
        raise BadLine("invalid_json_line", "This line is not a JSON object.")
    for name in ("custom_id", "method", "url", "body"):
        if value.get(name) is None:
            raise BadLine("missing_required_parameter", f"This line has no {name}.", param=name)
    return RequestLine(
        number=number, custom_id=_checked_fields(value), data=line, inputs=_count_inputs(value["body"])
    )


def _checked_fields(value: dict[str, Any]) -> str:
    """Check the fields of the request, and return its ``custom_id``."""
    custom_id = value["custom_id"]
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_CUSTOM_ID:
        raise BadLine(
            "invalid_custom_id",
            f"The custom_id of this line must be a text of 1 to {MAX_CUSTOM_ID} characters.",
            param="custom_id",
        )
    if well_formed(custom_id) != custom_id:
        raise BadLine(
            "invalid_custom_id", "The custom_id of this line has half of a surrogate pair.", param="custom_id"
        )
    if value["method"] != "POST":
        raise BadLine("invalid_method", "The method of this line must be POST.", param="method")
    if value["url"] != ENDPOINT:
        raise BadLine(
            "url_mismatch",
            f"The url of this line must be {ENDPOINT}, the endpoint of the batch.",
            param="url",
        )
    if not isinstance(value["body"], dict):
        raise BadLine("invalid_body", "The body of this line must be an object.", param="body")
    return custom_id


def _count_inputs(body: dict[str, Any]) -> int:
    input = body.get("input")
    return len(input) if isinstance(input, list) and input and isinstance(input[0], str | list) else 1


def _repeated(hashes: bytearray, numbers: "array[int]") -> list[InputError]:
    """Return an error for each line that has the same ``custom_id`` as an earlier line."""
    ids = np.frombuffer(hashes, dtype=[("high", "<u8"), ("low", "<u8")])
    order = np.argsort(ids, kind="stable", order=("high", "low"))
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1]) + 1
    lines = sorted(numbers[position] for position in order[again])
    message = "The custom_id of this line is that of an earlier line. Every request needs its own."
    return [
        InputError(code="duplicate_custom_id", message=message, line=line, param="custom_id")
        for line in lines[:MAX_ERRORS]
    ]


def _wrong_size(requests: int, inputs: int) -> list[InputError]:
    """Return one error if the file has no requests, or too many requests or inputs; otherwise return no
    error.
    """
    if requests == 0:
        return [InputError(code="empty_file", message="The input file has no requests.")]
    if requests > MAX_REQUESTS:
        message = f"The input file has more than {MAX_REQUESTS:,} requests. Divide it into several batches."
        return [InputError(code="too_many_tasks", message=message)]
    if inputs > MAX_INPUTS:
        message = (
            f"The requests of the input file have {inputs:,} inputs in all; a batch may have {MAX_INPUTS:,}. "
            "Divide the file into several batches."
        )
        return [InputError(code="too_many_inputs", message=message)]
    return []
