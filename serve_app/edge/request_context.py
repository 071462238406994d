"""What a caller says about a request beside its body: who it is, whether somebody waits, and for how long.

``x-priority: interactive`` or ``bulk`` chooses the lane; without it the size does. ``x-request-timeout`` is in seconds; the
OpenAI clients send their own timeout, and it is honoured: an answer that comes after it would be computed for nobody.

    async def route(terms: Terms): ...
"""

from typing import Annotated

from fastapi import Depends, Request

from cluster.errors import InvalidInput
from serve_app.edge.authentication import Organisation
from serve_app.edge.service_access import service_of
from serve_app.embedding.batching import Lane
from serve_app.embedding.served_model import RequestTerms

#: Where a timeout may stand, in seconds: ours, and those of OpenAI's clients for Python and for Node.
TIMEOUT_HEADERS = ("x-request-timeout", "x-stainless-read-timeout", "x-stainless-timeout")
LANES: dict[str | None, Lane | None] = {None: None, "interactive": "interactive", "bulk": "bulk"}


async def terms_of(request: Request, organisation: Organisation) -> RequestTerms:
    """From the headers.

    Raises:
        InvalidInput: a header of ours holds something else than it should.
    """
    # One pass over the bytes: each look-up in ``request.headers`` decodes them all.
    headers = {
        name: value.decode("latin-1") for name, value in request.scope["headers"] if name.startswith(b"x-")
    }
    priority = headers.get(b"x-priority")
    if priority not in LANES:
        raise InvalidInput(f"x-priority is {priority!r}; it may be interactive or bulk", param="x-priority")
    most = service_of(request).settings.request_timeout_s
    given = [_seconds(name, value) for name in TIMEOUT_HEADERS if (value := headers.get(name.encode()))]
    return RequestTerms(organisation=organisation, lane=LANES[priority], deadline_s=min([most, *given]))


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = float("nan")
    if seconds > 0:
        return seconds
    if name == TIMEOUT_HEADERS[0]:
        raise InvalidInput(f"{name} is {value!r}; it must be seconds, more than 0", param=name)
    return float("inf")


Terms = Annotated[RequestTerms, Depends(terms_of)]
