"""Writes one sentence about an invalid request: the field, its value, and the allowed values.

Only this module turns pydantic's errors into sentences, so no client sees the messages of pydantic.
``errors`` calls ``validation_message``.

    validation_message(exc.errors(), exc.body).message      # "documents[0] is 5; it must be a text"
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import core_schema

from cluster.text.well_formed import well_formed
from serve_app.messages import LIST, MAX_QUOTED, OBJECT, quoted, shortened

#: Text that is shown for an empty name.
EMPTY = '""'
#: The words before the name of a field that is not in the body. The first item of an error's ``loc`` is the
#: origin of the field.
ORIGINS = {"query": "the query parameter ", "header": "the header ", "path": "", "cookie": "the cookie "}
PYDANTIC_TYPES = frozenset(get_args(core_schema.ErrorType))
#: Finds the expected values in pydantic's text, such as "'a', 'b' or 'c'".
EXPECTED = re.compile(r"'([^']*)'")

Context = Mapping[str, Any]

WHOLE, NUMBER, BOOLEAN, TEXT = "a whole number", "a number", "true or false", "a text"
#: The allowed values for each error type of pydantic.
ALLOWED: dict[str, str | Callable[[Context], str]] = {
    **dict.fromkeys(("string_type", "string_sub_type"), TEXT),
    "string_unicode": "text in UTF-8",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), NUMBER),
    "finite_number": "a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), BOOLEAN),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "iterable_type"), LIST),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dict_attributes_type"), OBJECT
    ),
    "none_required": "null",
    "greater_than": lambda ctx: f"more than {_figure(ctx['gt'])}",
    "greater_than_equal": lambda ctx: f"at least {_figure(ctx['ge'])}",
    "less_than": lambda ctx: f"less than {_figure(ctx['lt'])}",
    "less_than_equal": lambda ctx: f"at most {_figure(ctx['le'])}",
    **dict.fromkeys(("literal_error", "enum"), lambda ctx: _one_of(ctx["expected"])),
    "union_tag_invalid": lambda ctx: _one_of(ctx["expected_tags"]),
}
#: The comparison, the name of the limit and the unit for each of pydantic's error types about lengths.
LENGTHS = {
    "string_too_long": ("at most", "max_length", "characters"),
    "string_too_short": ("at least", "min_length", "characters"),
    "too_long": ("at most", "max_length", "items"),
    "too_short": ("at least", "min_length", "items"),
}


@dataclass(frozen=True, slots=True)
class ValidationMessage:
    """A validation error as the client sees it."""

    message: str
    #: The field as the client wrote it; None if the error is about the whole body.
    param: str | None


def validation_message(errors: Sequence[Mapping[str, Any]], body: Any) -> ValidationMessage:
    """Write one sentence about the first wrong field.

    Args:
        errors: pydantic's errors with FastAPI's ``loc``: the origin of the field, then the path of the field.
        body: the request's body, which shows which names of a path are in the body. pydantic added the rest.
    """
    first = errors[0]
    if first["type"] == "json_invalid":
        return ValidationMessage(
            f"the body is not valid JSON: {_context(first).get('error', 'it ends too early')}", None
        )
    # A union gives an error for each of its types. The client probably meant the type that matched furthest
    # into the value.
    candidates = [
        (field_path(error, body), error) for error in errors if error["loc"][:2] == first["loc"][:2]
    ]
    furthest = max(len(path) for path, _ in candidates)
    path = next(path for path, _ in candidates if len(path) == furthest)
    of_field = [error for error_path, error in candidates if error_path == path]
    return ValidationMessage(_sentence(path, of_field), path_text(path) or None)


def form_validation_error(exc: ValidationError, fields: Mapping[str, str]) -> RequestValidationError:
    """Turn the validation error of a form into the kind of error that FastAPI raises for a JSON body."""
    return RequestValidationError(
        [{**error, "loc": ("body", *error["loc"])} for error in exc.errors()], body=fields
    )


def field_path(error: Mapping[str, Any], body: Any) -> tuple[int | str, ...]:
    """Return the origin of the field and its path, without the names that pydantic adds for unions."""
    origin, *rest = error["loc"]
    if origin != "body":
        return (origin, *rest)
    value, path = body, ["body"]
    for position, part in enumerate(rest):
        if (isinstance(value, Mapping) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            value = value[part]
        elif not (position == len(rest) - 1 and error["type"] == "missing"):
            # pydantic added this part: the name of a union's member, or "[key]" for an error in a key.
            continue
        path.append(part)
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        path.append(EXPECTED.sub(r"\1", _context(error)["discriminator"]))
    return tuple(path)


def _sentence(path: tuple[int | str, ...], errors: Sequence[Mapping[str, Any]]) -> str:
    error = errors[0]
    type, context, name = error["type"], _context(error), _field_name(path)
    if type in {"missing", "union_tag_not_found"}:
        return f"{name} is missing; send it" if len(path) > 1 else "the body is missing; send a JSON object"
    if type == "extra_forbidden":
        return f"unknown field {path_text(path)!r}; leave it out"
    if type not in PYDANTIC_TYPES:
        # A message of this application either continues after the field's name or is a whole sentence.
        return f"{name} {error['msg']}" if error["msg"].startswith("must ") else str(error["msg"])
    if type in LENGTHS:
        words, limit, unit = LENGTHS[type]
        unit = "characters" if isinstance(error["input"], str) else unit
        length = (
            len(error["input"])
            if hasattr(error["input"], "__len__")
            else context.get("actual_length", "other")
        )
        return f"{name} has {_figure(length)} {unit}; it may have {words} {_figure(context[limit])}"
    allowed = " or ".join(dict.fromkeys(_allowed(one) for one in errors))
    if len(path) == 1:
        return f"{name} must be {allowed}"
    value = context["tag"] if type == "union_tag_invalid" else error["input"]
    return f"{name} is {quoted(value)}; it must be {allowed}"


def _allowed(error: Mapping[str, Any]) -> str:
    found = ALLOWED.get(error["type"], "of another type; see /docs")
    return found if isinstance(found, str) else found(_context(error))


def _context(error: Mapping[str, Any]) -> Context:
    return error.get("ctx") or {}


def _one_of(expected: str) -> str:
    return " or ".join(EXPECTED.findall(expected)) or expected


def _figure(number: Any) -> str:
    return (
        f"{number:,}"
        if isinstance(number, int)
        else f"{number:g}"
        if isinstance(number, float)
        else str(number)
    )


def path_text(path: Sequence[int | str]) -> str:
    """Write the path, without the origin, as a program writes it, such as ``files[3].attributes.page``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part or EMPTY}" for part in path[1:])
    return shortened(well_formed("".join(parts).removeprefix(".")), MAX_QUOTED * 2)


def _field_name(path: Sequence[int | str]) -> str:
    return f"{ORIGINS.get(str(path[0]), '')}{path_text(path) or 'the body'}"
