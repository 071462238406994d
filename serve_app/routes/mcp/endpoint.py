"""POST /mcp: the Model Context Protocol over Streamable HTTP, for ChatGPT, Claude and other clients.

A client sends messages of JSON-RPC, and lists and calls the tools of ``mcp_server``. The request needs a key
or a token with the scope ``read``, as other requests do. The server sends no messages of its own, so GET is
answered with status 405, as the protocol says.
"""

import asyncio
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

from fastapi import Request, Response

from cluster.errors import NotPermitted
from serve_app.edge.cors import ANY
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import RequestModel
from serve_app.edge.response_model import Omissible, ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.mcp.tool import ToolCall

#: Module that answers. Importing it takes nearly a second of a processor, because of the package ``mcp``, so
#: the first request imports it, in a thread.
ANSWERING_MODULE = "serve_app.routes.mcp.mcp_server"
#: Origin of a page of this machine.
LOCAL_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")

router = json_router(429)


class McpMessage(RequestModel):
    """A message of JSON-RPC 2.0, as the Model Context Protocol describes it."""

    jsonrpc: Literal["2.0"]
    """Always `2.0`."""
    id: int | str | None = None
    """Id of the request; left out in notifications."""
    method: str
    """Method of the protocol, such as `tools/list` or `tools/call`."""
    params: dict[str, Any] | None = None
    """Parameters of the method. For `tools/call`: `name` and `arguments`."""


class McpError(ResponseModel):
    """An error of JSON-RPC 2.0."""

    code: int
    """The number of the error."""
    message: str
    """A sentence about the error."""
    data: Omissible[Any] = None
    """More about the error."""


class McpAnswer(ResponseModel):
    """An answer of JSON-RPC 2.0."""

    jsonrpc: Literal["2.0"]
    """Always `2.0`."""
    id: int | str | None
    """Id of the request."""
    result: Omissible[dict[str, Any]] = None
    """The result of the method; left out if there is an error."""
    error: Omissible[McpError] = None
    """The error; left out if there is a result. Errors of a tool are in `result`, with `isError`."""


@router.post(
    "/mcp",
    summary="Call tools over the Model Context Protocol",
    responses={200: {"model": McpAnswer}, 202: {"description": "The notification was accepted"}},
)
async def mcp(body: McpMessage, request: Request, service: ServiceDep, context: ContextDep) -> Response:
    """Searches and reads documents as tools of a language model: `search`, `fetch` and `list_vector_stores`.

    Takes one message of Streamable HTTP, without a session."""
    del body  # already checked; the package mcp reads the message from the request
    _require_known_origin(request.headers.get("origin"), service.settings.cors_origins)
    address = str(request.base_url).rstrip("/")
    server = await asyncio.to_thread(import_module, ANSWERING_MODULE)
    call = ToolCall(service=service, context=context, address=address)
    answer: Response = await server.answer(request, call)
    return answer


def _require_known_origin(origin: str | None, allowed: Sequence[str]) -> None:
    """Refuse requests from pages of unknown sites, as the protocol demands.

    The owner of a site can give the site's name the address of the browser's own machine (DNS rebinding).
    Then a page of the site could send requests to a server on this machine.

    Raises:
        NotPermitted: the page is not on this machine, and ``CLUSTER_CORS_ORIGINS`` does not allow its origin.
    """
    if origin is None or ANY in allowed or origin in allowed or LOCAL_ORIGIN.fullmatch(origin):
        return
    raise NotPermitted(
        f"pages of {origin!r} may not call this server; its operator can allow them (CLUSTER_CORS_ORIGINS)"
    )
