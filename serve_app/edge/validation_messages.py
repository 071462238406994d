"""What is wrong with a request, in one sentence for people: which field, as the client wrote it, what it holds, and what to send.

The one place where pydantic's errors become sentences; nothing of its wording reaches a client. Called by ``errors``.

    validation_message(exc.errors(), exc.body)      # ValidationMessage("documents[0] is 5; it must be a text", param="documents[0]")
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import core_schema

from cluster.text.well_formed import well_formed

#: Characters of a value that a sentence shows.
SHOWN = 60
#: How a name without characters is written.
EMPTY = '""'
#: Where a field may stand other than in the body; ``loc`` begins with it.
PLACES = {"query": "the query parameter ", "header": "the header ", "path": "", "cookie": "the cookie "}
PYDANTICS = frozenset(get_args(core_schema.ErrorType))
#: pydantic lists what it expects as 'a', 'b' or 'c'.
EXPECTED = re.compile(r"'([^']*)'")

Context = Mapping[str, Any]

WHOLE, NUMBER, BOOLEAN, OBJECT, LIST, TEXT = (
    "a whole number",
    "a number",
    "true or false",
    "an object",
    "a list",
    "a text",
)
#: By pydantic's type of error: what the value must be instead.
NEEDED: dict[str, str | Callable[[Context], str]] = {
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
#: By pydantic's type of error: the length it must have, and the length it has.
LENGTHS = {
    "string_too_long": ("at most", "max_length", "characters"),
    "string_too_short": ("at least", "min_length", "characters"),
    "too_long": ("at most", "max_length", "items"),
    "too_short": ("at least", "min_length", "items"),
}


@dataclass(frozen=True, slots=True)
class ValidationMessage:
    """An error as the client is told."""

    message: str
    #: The field as the client wrote it; None: the body as a whole.
    param: str | None


def validation_message(errors: Sequence[Mapping[str, Any]], body: Any) -> ValidationMessage:
    """One sentence about the first field at fault.

    Args:
        errors: pydantic's, with FastAPI's ``loc``: where it stands, then the names on the way to it.
        body: what was sent, to tell names in it from pydantic's own.
    """
    first = errors[0]
    if first["type"] == "json_invalid":
        return ValidationMessage(
            f"the body is not valid JSON: {_context(first).get('error', 'it ends too early')}", None
        )
    # Of a field that may be one thing or another there is an error for each: those count that got furthest into the value.
    about = [(field_path(error, body), error) for error in errors if error["loc"][:2] == first["loc"][:2]]
    furthest = max(len(place) for place, _ in about)
    place = next(place for place, _ in about if len(place) == furthest)
    same = [error for there, error in about if there == place]
    return ValidationMessage(_sentence(place, same), path_text(place) or None)


def form_validation_error(exc: ValidationError, given: Mapping[str, str]) -> RequestValidationError:
    """The error of a form, which FastAPI does not read itself, as of any other body."""
    return RequestValidationError(
        [{**error, "loc": ("body", *error["loc"])} for error in exc.errors()], body=given
    )


def field_path(error: Mapping[str, Any], body: Any) -> tuple[int | str, ...]:
    """The names on the way to the field: where it stands first, then as in the body, without what pydantic puts in between."""
    origin, *rest = error["loc"]
    if origin != "body":
        return (origin, *rest)
    value, place = body, ["body"]
    for position, part in enumerate(rest):
        if (isinstance(value, Mapping) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            value = value[part]
        elif not (position == len(rest) - 1 and error["type"] == "missing"):
            continue  # the name of a branch, or "[key]"
        place.append(part)
    if error["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        place.append(EXPECTED.sub(r"\1", _context(error)["discriminator"]))
    return tuple(place)


def _sentence(place: tuple[int | str, ...], errors: Sequence[Mapping[str, Any]]) -> str:
    error = errors[0]
    type, context, name = error["type"], _context(error), _named(place)
    if type in {"missing", "union_tag_not_found"}:
        return f"{name} is missing; send it" if len(place) > 1 else "the body is missing; send a JSON object"
    if type == "extra_forbidden":
        return f"unknown field {path_text(place)!r}; leave it out"
    if type not in PYDANTICS:
        # A sentence of ours: it goes on after the field's name, or stands alone.
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
    needed = dict.fromkeys(_needed(one) for one in errors)
    if len(place) == 1:
        return f"{name} must be {' or '.join(needed)}"
    value = context["tag"] if type == "union_tag_invalid" else error["input"]
    return f"{name} is {shown(value)}; it must be {' or '.join(needed)}"


def _needed(error: Mapping[str, Any]) -> str:
    found = NEEDED.get(error["type"], "of another form: see /docs")
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


def path_text(place: Sequence[int | str]) -> str:
    """The field as in a program: ``files[3].attributes.page``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part or EMPTY}" for part in place[1:])
    return shortened(well_formed("".join(parts).removeprefix(".")), SHOWN * 2)


def _named(place: Sequence[int | str]) -> str:
    return f"{PLACES.get(str(place[0]), '')}{path_text(place) or 'the body'}"


def shown(value: Any) -> str:
    """A value in a sentence, at most ``SHOWN`` characters long."""
    if isinstance(value, bytes):
        return "no JSON"
    if isinstance(value, dict | list) and value:
        return OBJECT if isinstance(value, dict) else LIST
    try:
        return shortened(json.dumps(value, ensure_ascii=False), SHOWN)
    except (TypeError, ValueError):
        return shortened(repr(value), SHOWN)


def shortened(text: str, most: int) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
