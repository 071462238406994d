"""What HAProxy and Serve's own servers answer where the application cannot, in OpenAI's shape."""

from typing import Any

RETRY_AFTER_S = 2
STARTING = "the endpoint is starting and takes no requests yet; send the request again in some seconds"
UNAVAILABLE = "no replica of the endpoint answers at the moment; send the request again in some seconds"
FAILED = "the request was not answered: the replica that had it failed; send the request again"
MALFORMED = "this is no HTTP request that can be understood"
TOO_SLOW = "the request did not arrive in time; send it again"


def refusal(message: str, *, code: str = "unavailable", type: str = "server_error") -> dict[str, Any]:
    """The body."""
    return {"error": {"message": message, "type": type, "param": None, "code": code}}
