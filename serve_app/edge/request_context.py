"""Read the organisation, the lane and the deadline of a request from its headers.

``x-priority: interactive`` or ``bulk`` chooses the lane of the batcher. Without this header, the size of the
request decides. ``x-request-timeout`` is in seconds. The OpenAI clients send their own timeout, which also
sets the deadline, because the clients discard an answer that comes later.

    async def route(context: ContextDep): ...
"""

from typing import Annotated

from fastapi import Depends, Request

from cluster.errors import InvalidInput
from serve_app.edge.authentication import Organisation
from serve_app.edge.service_access import service_of
from serve_app.embedding.batching import Lane
from serve_app.embedding.served_model import RequestContext

#: Headers with a timeout in seconds: the header of this API, and the headers of OpenAI's Python and Node
#: clients.
TIMEOUT_HEADERS = ("x-request-timeout", "x-stainless-read-timeout", "x-stainless-timeout")
LANES: dict[str | None, Lane | None] = {None: None, "interactive": "interactive", "bulk": "bulk"}


async def request_context(request: Request, organisation: Organisation) -> RequestContext:
    """Read the context of this request.

    Raises:
        InvalidInput: x-priority or x-request-timeout has a value that is not allowed.
    """
    # This reads the raw headers once, because each look-up in ``request.headers`` decodes all headers.
    headers = {
        name: value.decode("latin-1") for name, value in request.scope["headers"] if name.startswith(b"x-")
    }
    priority = headers.get(b"x-priority")
    if priority not in LANES:
        raise InvalidInput(f"x-priority is {priority!r}; it must be interactive or bulk", param="x-priority")
    longest_s = service_of(request).settings.request_timeout_s
    timeouts = [_timeout_s(name, value) for name in TIMEOUT_HEADERS if (value := headers.get(name.encode()))]
    return RequestContext(
        organisation=organisation, lane=LANES[priority], deadline_s=min([longest_s, *timeouts])
    )


def _timeout_s(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = float("nan")
    if seconds > 0:
        return seconds
    if name == TIMEOUT_HEADERS[0]:
        raise InvalidInput(f"{name} is {value!r}; it must be a number of seconds above 0", param=name)
    return float("inf")


ContextDep = Annotated[RequestContext, Depends(request_context)]
