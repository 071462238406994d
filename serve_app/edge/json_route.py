"""What every route does with a request before its own code: read the JSON, refuse what cannot be stored, deal with unknown fields.

A field or a query parameter that nothing here knows is left out, and named in the header ``x-ignored-fields`` of the answer; with
``CLUSTER_UNKNOWN_FIELDS=error`` it is refused, unless other servers' APIs have it and it changes nothing here.

    router = json_router(404, 429)            # in place of APIRouter
"""

import json
import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import parse_qsl, quote, urlencode

import orjson
from fastapi import APIRouter, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cluster.errors import InvalidInput
from cluster.vector_index.filters import is_text
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.request_model import RequestModel
from serve_app.edge.service_access import service_of
from serve_app.edge.validation_messages import field_path, path_text, shortened

IGNORED_HEADER = "x-ignored-fields"
#: Of one object.
MOST_FIELDS = 1_000
#: Fields the header names at most, and characters of each.
MOST_NAMED = 32
LONGEST_NAMED = 64

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Place = Sequence[int | str]


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


#: orjson makes floats of longer numbers. Five times as fast otherwise, it reads all that is plain JSON in UTF-8.
LONG_NUMBER = re.compile(rb"\d{19}")
READER = json.JSONDecoder(parse_constant=_no_number)


class JsonRequest(Request):
    """A request whose body is read once, and may be read again without the fields that are left out."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.scope, request.receive)
        #: Names of the fields that were left out, as a header carries them.
        self.ignored: list[str] = []

    async def json(self) -> Any:
        """The body.

        Raises:
            json.JSONDecodeError: it is no JSON.
            HTTPException: 400, it is JSON that cannot be read.
        """
        if not hasattr(self, "_read"):
            self._read = _parsed(await self.body())
            _refuse_many_fields(self._read)
        return self._read


def _refuse_many_fields(read: Any) -> None:
    """Raise HTTPException for an object, or one in it, with more fields than any request has: each unknown one costs a kilobyte."""
    objects = [
        one for one in (read, *(read.values() if isinstance(read, dict) else ())) if isinstance(one, dict)
    ]
    if max(map(len, objects), default=0) > MOST_FIELDS:
        raise _unreadable(f"an object in it has over {MOST_FIELDS:,} fields; send fewer")


class JsonRoute(APIRoute):
    """Every route of the application; see the module's docstring."""

    def get_route_handler(self) -> Handler:
        """FastAPI's own behind ours."""
        handle = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))
        annotation = self.body_field.field_info.annotation if self.body_field else None
        model = (
            annotation
            if isinstance(annotation, type) and issubclass(annotation, RequestModel)
            else RequestModel
        )
        idle = model.CHANGES_NOTHING & model.model_fields.keys()

        async def ours(request: Request) -> Response:
            request = JsonRequest(request)
            ignored = request.ignored
            if request.scope["query_string"]:
                ignored += _query_without_unknown(request, known)
            if "\0" in request.scope["path"]:
                _refuse_unstorable(request.path_params.items())
            try:
                response = await handle(request)
            except RequestValidationError as exc:
                ignored += _body_without_unknown(exc, request, model)
                response = await handle(request)
            if idle:
                given = await request.json()
                ignored += [name for name in idle if given.get(name) is not None]
            if ignored:
                told = response.headers.get(IGNORED_HEADER)
                response.headers[IGNORED_HEADER] = ", ".join(
                    [*([told] if told else []), *ignored[:MOST_NAMED]]
                )
            return response

        return ours


def json_router(*statuses: int) -> APIRouter:
    """A router whose routes are all ``JsonRoute``, and may answer with these statuses beside those any route may answer with."""
    return APIRouter(route_class=JsonRoute, responses=documented_errors(*statuses))


def header_safe_name(name: str) -> str:
    """The name of a field as a header can carry it."""
    return shortened(quote(name, safe="[]._-", errors="replace"), LONGEST_NAMED)


def _parsed(body: bytes) -> Any:
    if not LONG_NUMBER.search(body):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(body)
    try:
        return READER.decode(body.decode(json.detect_encoding(body)))
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as exc:
        raise _unreadable("it is not UTF-8; encode it so") from exc
    except RecursionError as exc:
        raise _unreadable("it is nested too deep; send less in one another") from exc
    except ValueError as exc:  # NaN and Infinity, numbers of thousands of digits
        raise _unreadable(str(exc).partition(":")[0]) from exc


def _unreadable(why: str) -> HTTPException:
    return HTTPException(HTTPStatus.BAD_REQUEST, f"the body cannot be read as JSON: {why}")


def _query_names(dependant: Dependant) -> Iterable[str]:
    yield from (field.alias for field in dependant.query_params)
    for part in dependant.dependencies:
        yield from _query_names(part)


def _query_without_unknown(request: Request, known: frozenset[str]) -> list[str]:
    """Leave out of the query what is unknown, which is returned, and what is empty: that is not given, as null is in a body."""
    given = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    unknown = [name for name, _ in given if name not in known]
    if unknown and service_of(request).settings.unknown_fields == "error":
        raise InvalidInput(
            f"unknown query parameter {unknown[0]!r} (CLUSTER_UNKNOWN_FIELDS is error); there are: {', '.join(sorted(known)) or 'none'}",
            param=shortened(unknown[0], LONGEST_NAMED),
        )
    _refuse_unstorable(given)
    kept = [(name, value) for name, value in given if name in known and value]
    if len(kept) < len(given):
        request.scope["query_string"] = urlencode(kept).encode()
    return [header_safe_name(name) for name in dict.fromkeys(unknown)]


def _refuse_unstorable(given: Iterable[tuple[str, Any]]) -> None:
    for name, value in given:
        if isinstance(value, str) and not is_text(value):
            raise InvalidInput(
                f"{shortened(name, LONGEST_NAMED)} holds a NUL character, and nothing here does; take it out",
                param=name,
            )


def _body_without_unknown(
    exc: RequestValidationError, request: JsonRequest, model: type[RequestModel]
) -> list[str]:
    """Leave unknown fields out of the body: their names.

    Raises:
        RequestValidationError: there are none, or one that must not be ignored.
    """
    unknown = [
        error for error in exc.errors() if error["type"] == "extra_forbidden" and error["loc"][0] == "body"
    ]
    if not unknown:
        raise exc
    refuses = service_of(request).settings.unknown_fields == "error"
    names = [(error, error["loc"][1] if len(error["loc"]) == 2 else "") for error in unknown]
    refused = [
        error
        for error, name in names
        if not model.may_ignore(name) or (refuses and name not in model.CHANGES_NOTHING)
    ]
    if refused:
        raise RequestValidationError(refused, body=exc.body) from exc
    places = dict.fromkeys(field_path(error, exc.body) for error in unknown)
    for place in places:
        _take_out(exc.body, place[1:])
    return [header_safe_name(path_text(place)) for place in places]


def _take_out(body: Any, place: Place) -> None:
    *way, last = place
    for part in way:
        body = body[part]
    body.pop(last, None)
