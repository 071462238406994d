"""What a request's ``input`` means: a text, several, or token ids of the model's own tokeniser or of OpenAI's.

Called by the routes that embed, before anything is computed.

    texts = as_texts(as_list(body.input), decode)
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from cluster.errors import InvalidInput

MAX_INPUTS = 2_048
MAX_TOKENS = 300_000

TokenIds = Literal["cl100k", "model"]
Ids = NDArray[np.int32]


def _told_plainly(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One sentence instead of one for each branch of the union and each item of the list, which for a large list are gigabytes."""
    del validate
    if not _is_input(value):
        raise PydanticCustomError("input_type", "must be a text or a list of texts; or a list of token ids, or of such lists")
    return value


def _is_input(value: Any) -> bool:
    if not isinstance(value, list):
        return isinstance(value, str)
    kinds = set(map(type, value))
    if kinds == {list}:
        return set(map(type, chain.from_iterable(value))) <= {int}
    return kinds <= {str} or kinds == {int}


Input = Annotated[str | list[str] | list[int] | list[list[int]], Field(union_mode="left_to_right"), WrapValidator(_told_plainly)]


def as_list(input: str | list[str] | list[int] | list[list[int]]) -> list[str] | list[list[int]]:
    """The inputs one by one.

    Raises:
        InvalidInput: there are none, too many, or one is empty.
    """
    if isinstance(input, str):
        inputs: list[Any] = [input]
    else:
        inputs = [input] if input and isinstance(input[0], int) else list(input)
    if not inputs:
        raise InvalidInput("input is an empty list; send at least one text", param="input")
    if len(inputs) > MAX_INPUTS:
        raise InvalidInput(f"input has {len(inputs):,} items; at most {MAX_INPUTS:,} fit one request", param="input")
    for position, one in enumerate(inputs):
        if not one:
            raise InvalidInput(f"input[{position}] is empty; every input needs at least one character", param="input")
    if not isinstance(inputs[0], str):
        refuse_many_tokens(inputs)  # before they are decoded, or made arrays
    return inputs


def as_texts(inputs: Sequence[str] | Sequence[list[int]], decode: Callable[[list[int]], str]) -> list[str]:
    """Texts as they are, and token arrays as the texts they were made of."""
    return [one if isinstance(one, str) else decode(one) for one in inputs]


def own_ids(inputs: Sequence[list[int]]) -> list[Ids]:
    """Arrays of the model's own ids; whether its vocabulary has them, the engine checks.

    Raises:
        InvalidInput: a number no vocabulary has.
    """
    most = np.iinfo(np.int32).max
    if any(not 0 <= id <= most for one in inputs for id in one):
        raise InvalidInput("input holds a token id that no vocabulary has", param="input")
    return [np.array(one, dtype=np.int32) for one in inputs]


def refuse_many_tokens(ids: Sequence[Ids] | Sequence[list[int]]) -> None:
    """Raise InvalidInput when they are more than one request may have."""
    tokens = sum(map(len, ids))
    if tokens > MAX_TOKENS:
        raise InvalidInput(f"input has {tokens:,} tokens in all; at most {MAX_TOKENS:,} fit one request", param="input")
