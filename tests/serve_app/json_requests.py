"""Every request with a JSON body, from the application's own description, so that new routes are included."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import strategies as st

from serve_app.api import build_api
from serve_app.edge.request_model import RequestModel

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.just("\ud800")
    | st.just("a\0b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class JsonRequestBody:
    """The JSON body of one route."""

    path: str
    model: type[RequestModel]

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the body."""
        return self.model.model_json_schema()

    @cached_property
    def bodies(self) -> st.SearchStrategy[Any]:
        """A strategy for the bodies that the schema allows. It is slow to build and fast to draw from."""
        return values(self.schema, self.schema)


class SettingsOnly:
    """Stands in for the service; a description needs only its settings, keys, admission and rates."""

    def __getattr__(self, name: str) -> Any:
        if name == "admission":
            from serve_app.embedding.admission import Admission

            return Admission()
        if name == "rates":
            from cluster.database import connect
            from cluster.rate_limits.leased_rates import LeasedRates
            from cluster.settings import Settings
            from serve_app.embedding.rate_gate import RateGate

            return RateGate(LeasedRates(lambda: connect(Settings())))
        if name in {"settings", "keys"}:
            from cluster.keys.known_keys import KnownKeys
            from cluster.settings import Settings

            return Settings() if name == "settings" else KnownKeys(Settings(), open_database=lambda: None)
        if name in {"usage", "tokens", "requests"}:
            return None  # only requests use them
        raise AttributeError(name)


#: Paths that read a list or an object, and check each event by itself.
WITHOUT_MODEL = frozenset({"/v1/events"})


@cache
def undeployed_application() -> FastAPI:
    """Return the application without a model, a database and a blob store. It keeps its OpenAPI document."""
    return build_api(SettingsOnly())  # type: ignore[arg-type]


@cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of the application. The first call takes seconds."""
    return undeployed_application().openapi()


@cache
def json_request_bodies() -> list[JsonRequestBody]:
    """Return the body of every route that reads JSON, from the document."""
    found: list[JsonRequestBody] = []
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content and path not in WITHOUT_MODEL:
                found.append(JsonRequestBody(path, _model(method.upper(), path)))
    return found


def bodies_of_routes() -> list[JsonRequestBody]:
    """Return the same bodies without the document, for parameters of tests, which every collection makes."""
    models = [(route.path_format, _body_of(route)) for route in _routes() if route.include_in_schema]
    return [
        JsonRequestBody(path, model)
        for path, model in models
        if path not in WITHOUT_MODEL and isinstance(model, type) and issubclass(model, RequestModel)
    ]


def _model(method: str, path: str) -> type[RequestModel]:
    (route,) = (one for one in _routes() if one.path_format == path and method in (one.methods or ()))
    model = _body_of(route)
    assert issubclass(model, RequestModel), f"{path} takes {model.__name__}, which is no RequestModel"
    return model  # type: ignore[no-any-return]


def _body_of(route: APIRoute) -> Any:
    """Return the type of the body; None for a route without one."""
    model = get_type_hints(route.endpoint).get("body")
    if isinstance(model, UnionType):  # a body that may be left out
        (model,) = (one for one in get_args(model) if one is not NoneType)
    return model


def _routes() -> Iterator[APIRoute]:
    from serve_app import api

    for part in vars(api).values():
        for route in getattr(getattr(part, "router", None), "routes", ()):
            if isinstance(route, APIRoute):
                yield route


def values(schema: dict[str, Any], whole: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A strategy for the values that the schema allows."""
    if "$ref" in schema:
        return st.deferred(lambda: values(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole))
    if "anyOf" in schema or "oneOf" in schema:
        return st.one_of([values(one, whole) for one in schema.get("anyOf", []) + schema.get("oneOf", [])])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", -9), schema.get("maximum", 10_000))
        case "number":
            return st.floats(schema.get("minimum", -9), schema.get("maximum", 9))
        case "string":
            return (
                st.sampled_from(["2026-01-31T12:00:00Z"])
                if "format" in schema
                else st.text(min_size=schema.get("minLength", 0), max_size=8)
            )
        case "array":
            return st.lists(values(schema["items"], whole), min_size=schema.get("minItems", 0), max_size=3)
        case "object" if "properties" in schema:
            fields = {name: values(one, whole) for name, one in schema["properties"].items()}
            required = {name: one for name, one in fields.items() if name in schema.get("required", ())}
            return st.fixed_dictionaries(
                required, optional={name: one for name, one in fields.items() if name not in required}
            )
        case "object":
            inner = schema.get("additionalProperties")
            return st.dictionaries(
                st.text(max_size=4), values(inner, whole) if isinstance(inner, dict) else ANYTHING, max_size=3
            )
    return ANYTHING
