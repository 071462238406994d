"""Defines errors in OpenAI's shape that HAProxy and Serve's servers send if the application cannot answer."""

from typing import Any

RETRY_AFTER_S = 2
STARTING = "the endpoint is starting and takes no requests yet: send the request again in some seconds"
UNAVAILABLE = "no replica of the endpoint answers at the moment: send the request again in some seconds"
FAILED = "the replica with this request failed before it answered: send the request again"
MALFORMED = "the request is not valid HTTP"
TOO_SLOW = "the request did not arrive in time: send it again"


def refusal(message: str, *, code: str = "unavailable", type: str = "server_error") -> dict[str, Any]:
    """Return the JSON body of an error answer."""
    return {"error": {"message": message, "type": type, "param": None, "code": code}}
