"""The simulator's errors, in the shape of Pinecone's."""

from typing import Any

#: gRPC's codes of the statuses, which Pinecone puts into the body.
CODES = {400: 3, 401: 16, 404: 5, 413: 8, 429: 8, 500: 13, 503: 14}


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, *, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {} if retry_after is None else {"Retry-After": retry_after}
        self.body: dict[str, Any] = {"code": CODES[status], "message": message, "details": []}
