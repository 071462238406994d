"""Define the answer to a request of a batch, and make the lines of the output file and the error file.

answer = RequestAnswer(status=200, body=b'{"object":"list",...}', model="all-MiniLM-L6-v2", tokens=7)
answered_line("batch_1", request, answer)         # b'{"id":"batch_req_...","custom_id":"a",...}\n'
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from cluster.documents.batches.batch_input import RequestLine
from cluster.records import digest
from cluster.text.well_formed import json_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestAnswer:
    """The answer to one request of a batch. It is the answer that the same request gets over HTTP."""

    #: The HTTP status.
    status: int
    #: The body in JSON.
    body: bytes
    #: Name of the model that read the inputs; empty if no model read them.
    model: str = ""
    #: Number of tokens that the model read.
    tokens: int = 0

    @property
    def succeeded(self) -> bool:
        """True if this answer belongs in the output file; False if it belongs in the error file."""
        return self.status == HTTPStatus.OK


def answered_line(batch: str, request: RequestLine, answer: RequestAnswer) -> bytes:
    """Return the line of the output file or the error file for a request that was answered."""
    id = digest(batch, str(request.number), size=12)
    head = json_bytes({"id": f"batch_req_{id}", "custom_id": request.custom_id})
    response = b'"response":{"status_code":%d,"request_id":"req_%b","body":%b}' % (
        answer.status,
        id.encode(),
        answer.body,
    )
    return b'%b,%b,"error":null}\n' % (head[:-1], response)


def unanswered_line(batch: str, request: RequestLine, *, code: str, message: str) -> bytes:
    """Return the line of the error file for a request that has no answer because the batch ended before the
    request was sent to a model.
    """
    line: dict[str, Any] = {
        "id": f"batch_req_{digest(batch, str(request.number), size=12)}",
        "custom_id": request.custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    return json_bytes(line) + b"\n"
