"""The base class of JSON request bodies. Types are strict, and ``null`` means "not given".

A string field accepts only strings, never numbers or booleans. The number ``10.0`` counts as the whole number
10, as in JSON Schema, because some languages write all numbers with a decimal point. The model refuses
unknown fields, and ``json_route`` then decides whether to ignore these fields.

    class EmbeddingRequest(RequestModel):
        input: Input
        dimensions: PositiveWhole | None = None
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from cluster.described_model import DescribedModel
from cluster.text.storable_text import is_text
from serve_app.messages import must

NUMBER = re.compile(r"-?\d+(\.\d+)?")


def _stop_at_first_error(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            schema["fail_fast"] = True
        schema = list(schema.values())
    if isinstance(schema, list | tuple):
        for part in schema:
            _stop_at_first_error(part)


class RequestModel(DescribedModel):
    """A JSON body, or an object in it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    #: Fields of other servers' APIs that are accepted but have no effect.
    CHANGES_NOTHING: ClassVar[frozenset[str]] = frozenset()
    #: Fields in which ``null`` removes the stored value.
    NULL_CLEARS: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False if an unknown field with this name must be refused, because without the field, the
        request would do more than the client asked for.
        """
        del name
        return True

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, body: Any) -> Any:
        if isinstance(body, dict) and None in body.values():
            return {
                name: value for name, value in body.items() if value is not None or name in cls.NULL_CLEARS
            }
        return body

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a validator that stops at the first wrong item of a list.

        A validator that did not stop needed 14 s and two gigabytes of memory to report an error for each of
        two million items.
        """
        schema = handler(source)
        _stop_at_first_error(schema)
        return schema

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema for clients: optional fields may be null, and unknown fields are allowed."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        schema.pop("additionalProperties", None)
        for name, field in schema.get("properties", {}).items():
            if name not in schema.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()):
                about = {key: field.pop(key) for key in ("default", "description", "title") if key in field}
                field = schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **about}
            for one in field.get("anyOf", ()):
                if "description" in one and "description" not in field:
                    field["description"] = one.pop("description")
        return schema


def _whole(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


def _storable(text: str) -> str:
    if not is_text(text):
        raise must("not have a NUL character or half of a surrogate pair; remove it")
    return text


def _not_empty(text: str) -> str:
    if not text:
        raise must("have at least one character")
    return text


def _moment(value: Any) -> datetime:
    try:
        if isinstance(value, str) and not NUMBER.fullmatch(value):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None and value[4:5] == "-":
                return moment
        elif type(value) in (int, float):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass  # the error below refuses the value
    raise must("be a time with its zone, such as 2026-01-31T12:00:00Z, or a number of seconds since 1970")


def _moment_of_text(value: str) -> datetime:
    return _moment(float(value) if NUMBER.fullmatch(value) else value)


#: Text that Postgres can store and UTF-8 can encode.
Text = Annotated[str, AfterValidator(_storable)]
#: Text with at least one character. Every character is allowed, because the text is never stored. pydantic's
#: own minimum length is not used, because it would refuse half of a surrogate pair.
NotEmpty = Annotated[str, AfterValidator(_not_empty), WithJsonSchema({"type": "string", "minLength": 1})]
Whole = Annotated[int, BeforeValidator(_whole)]
PositiveWhole = Annotated[int, Field(ge=1), BeforeValidator(_whole)]

_MOMENT = WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]})
#: A time in RFC 3339, or a number of seconds since 1970.
Moment = Annotated[datetime, PlainValidator(_moment), _MOMENT]
#: A ``Moment`` for query parameters, in which even a number is text.
MomentOfText = Annotated[datetime, PlainValidator(_moment_of_text), _MOMENT]
