"""Read the field ``input`` of a request: one text, several texts, or token ids (the model's or OpenAI's).

The routes that embed inputs call this module before they compute anything.

    inputs = as_list(body.input)
    texts = as_texts(inputs, field_of(body.input), decode)
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Annotated, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

from cluster.errors import InvalidInput
from serve_app.embedding.long_inputs import INPUT, InputField
from serve_app.messages import must, quoted

MAX_INPUTS = 2_048
MAX_TOKENS = 300_000

TokenIds = Literal["cl100k", "model"]
Ids = NDArray[np.int32]


InputValue = str | list[str] | list[int] | list[list[int]]


def _validate_input(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Return a value of an allowed type, and refuse any other value with one error.

    Pydantic's own validation is not used, because its errors for each type and each item of a large list take
    gigabytes of memory.
    """
    del validate
    if _is_input(value):
        return value
    said = "be a text or a list of texts; or a list of token ids, or of such lists"
    if isinstance(value, list) and value:
        position = _first_of_another_kind(value)
        kind, first = _kind(value[position]), _kind(value[0])
        beside = f" beside {first}" if first and kind != first else ""
        said += f"; position {position} of it holds {quoted(value[position])}{beside}"
    raise must(said)


def _is_input(value: Any) -> bool:
    if not isinstance(value, list):
        return isinstance(value, str)
    kinds = set(map(type, value))
    if kinds == {list}:
        return set(map(type, chain.from_iterable(value))) <= {int}
    return kinds <= {str} or kinds == {int}


def _first_of_another_kind(values: list[Any]) -> int:
    """Return the position of the first item whose kind is not allowed or differs from the kind of the first
    item; 0 if there is no such item.
    """
    first = _kind(values[0])
    return next(
        (position for position, one in enumerate(values) if _kind(one) is None or _kind(one) != first), 0
    )


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "texts"
    if type(value) is int:
        return "token ids"
    return "lists of token ids" if isinstance(value, list) and all(type(id) is int for id in value) else None


Input = Annotated[InputValue, Field(union_mode="left_to_right"), WrapValidator(_validate_input)]


@overload
def as_list(input: str | list[str], field: str = ...) -> list[str]: ...


@overload
def as_list(input: InputValue, field: str = ...) -> list[str] | list[list[int]]: ...


def as_list(input: InputValue, field: str = INPUT.field) -> list[str] | list[list[int]]:
    """Return the inputs as a list.

    Args:
        input: a text, a list of texts, an array of token ids, or a list of arrays of token ids.
        field: name of the field in the request.

    Raises:
        InvalidInput: there are no inputs, too many inputs or tokens, or an input is empty.
    """
    inputs: list[Any] = [input] if is_one(input) else list(input)
    if not inputs:
        raise InvalidInput(f"{field} is an empty list; send at least one text", param=field)
    if len(inputs) > MAX_INPUTS:
        raise InvalidInput(
            f"{field} has {len(inputs):,} items; at most {MAX_INPUTS:,} fit one request", param=field
        )
    for position, one in enumerate(inputs):
        if not one:
            name = InputField(field, single=is_one(input)).name(position)
            raise InvalidInput(f"{name} is empty; every input needs at least one character", param=field)
    if not isinstance(inputs[0], str):
        # Checked here, because the next steps decode the ids or copy them into arrays, which costs time.
        refuse_many_tokens(inputs, InputField(field))
    return inputs


def field_of(input: InputValue, *, field: str = INPUT.field, remedy: str = INPUT.remedy) -> InputField:
    """Return the description of the field with the inputs, for error messages."""
    return InputField(field, single=is_one(input), remedy=remedy)


def as_texts(
    inputs: list[str] | list[list[int]], named: InputField, decode: Callable[[list[int]], str]
) -> list[str]:
    """Return the inputs as texts; token arrays are decoded.

    Raises:
        InvalidInput: an array cannot be decoded.
    """
    each: Sequence[str | list[int]] = inputs
    return [
        one if isinstance(one, str) else _decoded(one, named.name(position), decode)
        for position, one in enumerate(each)
    ]


def own_ids(inputs: Sequence[list[int]], named: InputField, *, vocabulary: int) -> list[Ids]:
    """Check token ids of the model's own tokeniser, and return them as arrays.

    Args:
        inputs: token ids of each input, without special tokens.
        named: the request's field, for error messages.
        vocabulary: number of ids in the model's vocabulary.

    Raises:
        InvalidInput: an id is not in the vocabulary.
    """
    for position, one in enumerate(inputs):
        if not (min(one) >= 0 and max(one) < vocabulary):
            wrong = next(id for id in one if not 0 <= id < vocabulary)
            raise InvalidInput(
                f"{named.name(position)} holds the token id {quoted(wrong)}; this model has the ids 0 to "
                f"{vocabulary - 1:,}",
                param=named.field,
            )
    return [np.array(one, dtype=np.int32) for one in inputs]


def refuse_many_tokens(ids: Sequence[Ids] | Sequence[list[int]], named: InputField) -> None:
    """Check that the inputs do not have more tokens than one request may have.

    Raises:
        InvalidInput: the inputs have over ``MAX_TOKENS`` tokens together.
    """
    tokens = sum(map(len, ids))
    if tokens > MAX_TOKENS:
        raise InvalidInput(
            f"{named.field} has {tokens:,} tokens in all; at most {MAX_TOKENS:,} fit one request",
            param=named.field,
        )


def _decoded(ids: list[int], name: str, decode: Callable[[list[int]], str]) -> str:
    try:
        return decode(ids)
    except InvalidInput as exc:
        raise InvalidInput(f"{name} {exc}", param=name.partition("[")[0]) from exc


def is_one(input: InputValue) -> bool:
    """Return True for a single text or array of token ids, and False for a list of texts or arrays."""
    return isinstance(input, str) or (bool(input) and isinstance(input[0], int))
