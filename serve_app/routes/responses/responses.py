"""/v1/responses: ask with the tool ``file_search``, and get or delete a stored response.

The answer flow is that of chat completions (``serve_app.answers``). This module reads the request and writes
the answer in the shapes of OpenAI's Responses API.
"""

from typing import Any

from starlette.responses import Response

from cluster.responses import delete_response, get_response
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.response_model import json_response
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.streamed_answer import StreamedAnswer
from serve_app.routes.responses.answered_response import AnsweredResponse
from serve_app.routes.responses.response_events import STREAM_CONTENT
from serve_app.routes.responses.response_objects import ResponseDeleted, ResponseObject
from serve_app.routes.responses.response_requests import CreateResponseRequest

#: The two forms of an answer, for the OpenAPI document.
STREAM: dict[str, Any] = {"description": "The response, or its events", "content": STREAM_CONTENT}

router = json_router(404, 409, 429)


@router.post(
    "/v1/responses", summary="Answer a question", response_model=ResponseObject, responses={200: STREAM}
)
async def create(body: CreateResponseRequest, service: ServiceDep, context: ContextDep) -> Response:
    """Answers from the documents of an agent or of the named vector stores, with citations.

    With `stream`, the events of OpenAI's Responses API are sent while the answer is made.
    """
    answered = await AnsweredResponse.begin(service, context, body)
    if body.stream:
        return await StreamedAnswer.begin(answered.encoded_events())
    return json_response((await answered.whole()).model_dump())


@router.get("/v1/responses/{response_id}", summary="Get a response", response_model=ResponseObject)
async def retrieve(response_id: str, service: ServiceDep, organisation: Organisation) -> Response:
    """Shows a stored response."""
    stored = await service.read(lambda connection: get_response(connection, organisation, response_id))
    return json_response(stored.response)


@router.delete("/v1/responses/{response_id}", summary="Delete a response")
async def delete(response_id: str, service: ServiceDep, organisation: Organisation) -> ResponseDeleted:
    """Deletes a stored response. Later responses of its conversation are kept."""
    await service.in_transaction(lambda connection: delete_response(connection, organisation, response_id))
    return ResponseDeleted(id=response_id)
