"""Writes one sentence about an invalid request: the field, its value, and what is allowed.

This is the only place that turns pydantic's errors into sentences; no client sees pydantic's own. Called by
``errors``.

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

#: The text for a name without characters.
EMPTY = '""'
#: The words for a field outside of the body. An error's ``loc`` begins with the origin of the field.
ORIGINS = {"query": "the query parameter ", "header": "the header ", "path": "", "cookie": "the cookie "}
PYDANTIC_TYPES = frozenset(get_args(core_schema.ErrorType))
#: pydantic lists the expected values as 'a', 'b' or 'c'.
EXPECTED = re.compile(r"'([^']*)'")

Context = Mapping[str, Any]

WHOLE, NUMBER, BOOLEAN, TEXT = "a whole number", "a number", "true or false", "a text"
#: For each of pydantic's error types, the values that are allowed.
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
#: For each of pydantic's error types about lengths: the comparison, the name of the limit, and the unit.
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
    #: The field as the client wrote it; None for the body as a whole.
    param: str | None


def validation_message(errors: Sequence[Mapping[str, Any]], body: Any) -> ValidationMessage:
    """One sentence about the first field that is wrong.

    Args:
        errors: pydantic's errors with FastAPI's ``loc``: the origin of the field, then the path to it.
        body: the request's body, which tells names in it from names that pydantic adds to a path.
    """
    first = errors[0]
    if first["type"] == "json_invalid":
        return ValidationMessage(
            f"the body is not valid JSON: {_context(first).get('error', 'it ends too early')}", None
        )
    # A union has an error for each of its types. The type that matched furthest into the value is the one
    # that was meant.
    candidates = [
        (field_path(error, body), error) for error in errors if error["loc"][:2] == first["loc"][:2]
    ]
    furthest = max(len(path) for path, _ in candidates)
    path = next(path for path, _ in candidates if len(path) == furthest)
    of_field = [error for error_path, error in candidates if error_path == path]
    return ValidationMessage(_sentence(path, of_field), path_text(path) or None)


def form_validation_error(exc: ValidationError, fields: Mapping[str, str]) -> RequestValidationError:
    """The error of a form in the form that FastAPI gives to errors of a JSON body."""
    return RequestValidationError(
        [{**error, "loc": ("body", *error["loc"])} for error in exc.errors()], body=fields
    )


def field_path(error: Mapping[str, Any], body: Any) -> tuple[int | str, ...]:
    """The origin of the field and the path to it, without the names that pydantic adds for unions."""
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
            continue  # the name of a union's member, or "[key]"
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
        # A message of this application: it either continues after the field's name or is a whole sentence.
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
    """The path as a program would write it: ``files[3].attributes.page``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part or EMPTY}" for part in path[1:])
    return shortened(well_formed("".join(parts).removeprefix(".")), MAX_QUOTED * 2)


def _field_name(path: Sequence[int | str]) -> str:
    return f"{ORIGINS.get(str(path[0]), '')}{path_text(path) or 'the body'}"
