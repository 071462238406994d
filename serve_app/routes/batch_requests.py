"""Answer the requests of batches as ``POST /v1/embeddings`` answers them.

The job of a batch calls ``answer_requests`` in a replica, without HTTP. A request of a batch has the same
validation, the same answer and the same errors as an HTTP request, because both use
``embeddings.embed_request``. Only the usage is recorded in another place, because the job records the usage
together with the answer.

    answers = await answer_requests(service, [line], organisation="acme", fingerprints={...})
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cluster.budgets.reservations import BatchHolder
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.errors import BudgetExceeded, ClusterError, Conflict, Misconfigured, Permanent, Retryable
from cluster.text.read_json import read_json
from cluster.text.well_formed import json_bytes
from serve_app.edge.errors import http_error_response, response_of, unexpected_error_response
from serve_app.edge.json_route import body_without_unknown, refuse_many_fields
from serve_app.embedding.prompts import model_and_kind
from serve_app.embedding.served_model import RequestContext
from serve_app.routes.embeddings import EmbeddingRequest, embed_request
from serve_app.service import Service


async def answer_requests(
    service: Service,
    lines: Sequence[bytes],
    *,
    organisation: str,
    fingerprints: Mapping[str, str],
    holder: BatchHolder | None = None,
) -> list[RequestAnswer | ClusterError]:
    """Answer the requests at the same time, and return the answers in the order of the requests.

    Args:
        service: the service of the replica, with the models and the settings.
        lines: lines of the input file of a batch, each with a request in its ``body``.
        organisation: the organisation that sends the requests. Each organisation has a share of the models.
        fingerprints: for each model, by name, the id of the fingerprint that the vectors must have.
        holder: says how to reserve for the requests; None if nothing has to be reserved.

    Returns:
        One item for each request. A ``RequestAnswer`` is the answer, also if the request was refused. After
        a ``Retryable`` error, the caller must send the request again, and after a ``BudgetExceeded`` error
        when the budget allows it. A ``Misconfigured`` error means that an operator must first change
        something, such as the key of a provider.
    """
    context = RequestContext(organisation=organisation, lane="bulk", records_usage=False)
    contexts = [context] * len(lines)
    if holder is not None:
        contexts = [
            replace(context, reserve=partial(service.budgets.reserve_request, organisation, holder, id))
            for id in holder.ids
        ]
    answers = []
    async with asyncio.TaskGroup() as group:
        for line, own in zip(lines, contexts, strict=True):
            answers.append(group.create_task(_answer(service, line, own, fingerprints)))
            # Checking all requests takes milliseconds. In between, the event loop serves people's requests.
            await asyncio.sleep(0)
    return [answer.result() for answer in answers]


async def _answer(
    service: Service, line: bytes, context: RequestContext, fingerprints: Mapping[str, str]
) -> RequestAnswer | ClusterError:
    try:
        request = _validated(service, read_json(line)["body"])
        model, _ = model_and_kind(service.models, request.model)
        found, expected = model.engine.fingerprint.id, fingerprints.get(model.name)
        if found != expected:
            raise Conflict(
                f"the batch began with vectors of {expected}, but {model.name} now computes those of {found};"
                " nothing was computed. Send the request in a new batch"
            )
        answer, made = await embed_request(request, service, context)
    except (Retryable, Misconfigured, BudgetExceeded) as exc:
        return exc
    except (Permanent, RequestValidationError) as exc:
        return _refusal(response_of(exc))
    except HTTPException as exc:
        return _refusal(http_error_response(exc, {"path": "", "method": ""}))
    except Exception as exc:  # noqa: BLE001  the error is logged, and must not stop the other requests
        return _refusal(unexpected_error_response(exc))
    return RequestAnswer(
        status=HTTPStatus.OK, body=json_bytes(answer), model=model.name, tokens=sum(made.token_counts)
    )


def _validated(service: Service, body: Any) -> EmbeddingRequest:
    """Validate the body in the same way as the route. Unknown fields are ignored, unless the settings refuse
    unknown fields.

    Raises:
        RequestValidationError: the body is not an embedding request, or an unknown field is refused.
        HTTPException: the body, or an object in the body, has too many fields.
    """
    refuse_many_fields(body)
    try:
        return _model_of(body)
    except RequestValidationError as exc:
        refuse_unknown = service.settings.unknown_fields == "error"
        body_without_unknown(exc, EmbeddingRequest, refuse_unknown=refuse_unknown)
        return _model_of(body)


def _model_of(body: Any) -> EmbeddingRequest:
    try:
        return EmbeddingRequest.model_validate(body)
    except ValidationError as exc:
        errors = [{**error, "loc": ("body", *error["loc"])} for error in exc.errors()]
        raise RequestValidationError(errors, body=body) from exc


def _refusal(response: Response) -> RequestAnswer:
    return RequestAnswer(status=response.status_code, body=bytes(response.body))
