"""What the JSON body of every request is built from: strict types, ``null`` taken for "not given", text that can be stored.

A string is text and nothing else: no number, no boolean. A number written ``10.0`` is the whole number 10, as JSON Schema has it, since
some languages write all their numbers so. Unknown fields are errors here; ``routing`` decides what becomes of them.

    class EmbeddingRequest(RequestModel):
        input: Input
        dimensions: PositiveWhole | None = None
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from cluster.vector_index.filters import is_text

#: Error type of sentences of ours that go on after the field's name: "must be ...".
MUST = "must"
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def _stop_at_the_first(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            schema["fail_fast"] = True
        schema = list(schema.values())
    if isinstance(schema, list | tuple):
        for part in schema:
            _stop_at_the_first(part)


class RequestModel(BaseModel):
    """A JSON body, or an object in it."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    #: Fields of other servers' APIs that change nothing here.
    CHANGES_NOTHING: ClassVar[frozenset[str]] = frozenset()
    #: Fields whose ``null`` takes a value away.
    NULL_CLEARS: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """False for an unknown field without which the request would do more than it says."""
        del name
        return True

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, given: Any) -> Any:
        if isinstance(given, dict) and None in given.values():
            return {
                name: value for name, value in given.items() if value is not None or name in cls.NULL_CLEARS
            }
        return given

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Its validator, which stops at a list's first wrong item: an error for each of two million took 14 s and two gigabytes."""
        schema = handler(source)
        _stop_at_the_first(schema)
        return schema

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The schema that clients see: an optional field may be null, and unknown fields are not refused."""
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


def must(sentence: str) -> PydanticCustomError:
    """An error of ours, told after the field's name: ``must("be a text")``."""
    # Braces are pydantic's own templates.
    return PydanticCustomError(MUST, "must {sentence}", {"sentence": sentence})


def _whole(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


def _storable(text: str) -> str:
    if not is_text(text):
        raise must("hold no NUL character and no half of a surrogate pair; take it out")
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
        pass  # told below
    raise must("be a time with its zone, such as 2026-01-31T12:00:00Z, or a number of seconds since 1970")


def _moment_of_text(value: str) -> datetime:
    return _moment(float(value) if NUMBER.fullmatch(value) else value)


#: Text that Postgres holds and UTF-8 carries.
Text = Annotated[str, AfterValidator(_storable)]
#: Text that is only read, so that it may hold anything. pydantic's own limit on the length refuses halves of surrogate pairs.
NotEmpty = Annotated[str, AfterValidator(_not_empty), WithJsonSchema({"type": "string", "minLength": 1})]
Whole = Annotated[int, BeforeValidator(_whole)]
PositiveWhole = Annotated[int, Field(ge=1), BeforeValidator(_whole)]

_MOMENT = WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]})
#: RFC 3339, or seconds since 1970.
Moment = Annotated[datetime, PlainValidator(_moment), _MOMENT]
#: The same where everything is text: in a path's query.
MomentOfText = Annotated[datetime, PlainValidator(_moment_of_text), _MOMENT]
