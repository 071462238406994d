"""The route class of the application, which reads JSON bodies and handles unknown fields.

An unknown field or query parameter is ignored, and the answer's header ``x-ignored-fields`` names it. With
``CLUSTER_UNKNOWN_FIELDS=error``, a request with an unknown field or parameter is refused, unless the field
belongs to another server's API and would have no effect.

    router = json_router(404, 429)            # in place of APIRouter
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import APIRouter, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cluster.errors import InvalidInput
from cluster.text.read_json import UnreadableJson, read_json
from cluster.text.storable_text import is_text
from serve_app.edge import permissions
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.request_model import RequestModel
from serve_app.edge.service_access import service_of
from serve_app.edge.validation_messages import field_path, path_text
from serve_app.messages import shortened

IGNORED_HEADER = "x-ignored-fields"
#: Maximum number of fields of one object.
MAX_FIELDS = 1_000
#: Maximum number of field names in ``x-ignored-fields``.
MAX_IGNORED_NAMES = 32
#: Maximum number of characters of a field name in a header or an error.
MAX_NAME_LENGTH = 64

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
FieldPath = Sequence[int | str]


class JsonRequest(Request):
    """A request whose body is parsed once, so unknown fields can be removed before a second validation."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.scope, request.receive)
        #: Names of the ignored fields, encoded for a response header.
        self.ignored: list[str] = []

    async def json(self) -> Any:
        """Return the parsed body.

        Raises:
            json.JSONDecodeError: the body is not JSON.
            HTTPException: 400, the body cannot be read as JSON, or ``refuse_many_fields`` refuses it.
        """
        if not hasattr(self, "_parsed_body"):
            self._parsed_body = _parse(await self.body())
            refuse_many_fields(self._parsed_body)
        return self._parsed_body


def refuse_many_fields(body: Any) -> None:
    """Refuse a body with too many fields, because each unknown field costs a kilobyte of memory.

    Raises:
        HTTPException: 400, the body or the object in one of the body's fields has too many fields.
    """
    objects = [
        one for one in (body, *(body.values() if isinstance(body, dict) else ())) if isinstance(one, dict)
    ]
    if max(map(len, objects), default=0) > MAX_FIELDS:
        raise _unreadable(f"one of its objects has over {MAX_FIELDS:,} fields; send fewer")


class JsonRoute(APIRoute):
    """A route that reads JSON and handles unknown fields; the module's docstring gives the rules."""

    def get_route_handler(self) -> Handler:
        """Return FastAPI's handler, with the check of the caller's scope and the handling of unknown fields
        around it.
        """
        handle = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))
        annotation = self.body_field.field_info.annotation if self.body_field else None
        model = (
            annotation
            if isinstance(annotation, type) and issubclass(annotation, RequestModel)
            else RequestModel
        )
        unused = model.CHANGES_NOTHING & model.model_fields.keys()
        method = min(self.methods or ())  # the only method, because each route has one method
        needed = permissions.required(method, self.path_format)
        self.openapi_extra = {**(self.openapi_extra or {}), "x-required-scope": needed}

        async def handle_json(request: Request) -> Response:
            permissions.check(needed)
            with permissions.row_access(needed):
                return await answer(JsonRequest(request))

        async def answer(request: JsonRequest) -> Response:
            ignored = request.ignored
            if request.scope["query_string"]:
                ignored += _query_without_unknown(request, known)
            if "\0" in request.scope["path"]:
                _refuse_unstorable(request.path_params.items())
            try:
                response = await handle(request)
            except RequestValidationError as exc:
                refuse_unknown = service_of(request).settings.unknown_fields == "error"
                ignored += body_without_unknown(exc, model, refuse_unknown=refuse_unknown)
                response = await handle(request)
            if unused:
                body = await request.json()
                ignored += [name for name in unused if body.get(name) is not None]
            if ignored:
                already_named = response.headers.get(IGNORED_HEADER)
                response.headers[IGNORED_HEADER] = ", ".join(
                    [*([already_named] if already_named else []), *ignored[:MAX_IGNORED_NAMES]]
                )
            return response

        return handle_json


def json_router(*statuses: int) -> APIRouter:
    """Create a router of ``JsonRoute``s that may return these statuses besides the ``COMMON_STATUSES``."""
    return APIRouter(route_class=JsonRoute, responses=documented_errors(*statuses))


def header_safe_name(name: str) -> str:
    """Percent-encode and shorten the name of a field for use in a header."""
    return shortened(quote(name, safe="[]._-", errors="replace"), MAX_NAME_LENGTH)


def _parse(body: bytes) -> Any:
    try:
        return read_json(body)
    except UnreadableJson as exc:
        raise _unreadable(str(exc)) from exc


def _unreadable(reason: str) -> HTTPException:
    return HTTPException(HTTPStatus.BAD_REQUEST, f"the body cannot be read as JSON: {reason}")


def _query_names(dependant: Dependant) -> Iterable[str]:
    yield from (field.alias for field in dependant.query_params)
    for part in dependant.dependencies:
        yield from _query_names(part)


def _query_without_unknown(request: Request, known: frozenset[str]) -> list[str]:
    """Remove unknown and empty parameters from the query, and return the names of the unknown parameters.

    An empty parameter counts as not given, like null in a body.

    Raises:
        InvalidInput: an unknown parameter must be refused, or a parameter has a NUL character.
    """
    parameters = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    unknown = [name for name, _ in parameters if name not in known]
    if unknown and service_of(request).settings.unknown_fields == "error":
        raise InvalidInput(
            f"unknown query parameter {unknown[0]!r} (CLUSTER_UNKNOWN_FIELDS is error);"
            f" this path knows: {', '.join(sorted(known)) or 'none'}",
            param=shortened(unknown[0], MAX_NAME_LENGTH),
        )
    _refuse_unstorable(parameters)
    kept = [(name, value) for name, value in parameters if name in known and value]
    if len(kept) < len(parameters):
        request.scope["query_string"] = urlencode(kept).encode()
    return [header_safe_name(name) for name in dict.fromkeys(unknown)]


def _refuse_unstorable(texts: Iterable[tuple[str, Any]]) -> None:
    for name, value in texts:
        if isinstance(value, str) and not is_text(value):
            raise InvalidInput(
                f"{shortened(name, MAX_NAME_LENGTH)} has a NUL character, which cannot be stored; remove it",
                param=name,
            )


def body_without_unknown(
    exc: RequestValidationError, model: type[RequestModel], *, refuse_unknown: bool
) -> list[str]:
    """Remove unknown fields from the body of the error, and return their names.

    Args:
        exc: the error of the validation.
        model: the model of the body.
        refuse_unknown: True if ``CLUSTER_UNKNOWN_FIELDS`` is ``error``.

    Raises:
        RequestValidationError: the error is not about unknown fields, or an unknown field must be refused.
    """
    unknown = [
        error for error in exc.errors() if error["type"] == "extra_forbidden" and error["loc"][0] == "body"
    ]
    if not unknown:
        raise exc
    names = [(error, error["loc"][1] if len(error["loc"]) == 2 else "") for error in unknown]
    refused = [
        error
        for error, name in names
        if not model.may_ignore(name) or (refuse_unknown and name not in model.CHANGES_NOTHING)
    ]
    if refused:
        raise RequestValidationError(refused, body=exc.body) from exc
    paths = dict.fromkeys(field_path(error, exc.body) for error in unknown)
    for path in paths:
        _remove(exc.body, path[1:])
    return [header_safe_name(path_text(path)) for path in paths]


def _remove(body: Any, path: FieldPath) -> None:
    *parents, last = path
    for part in parents:
        body = body[part]
    body.pop(last, None)
