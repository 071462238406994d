"""Build parts of sentences about wrong values in requests, for ``edge``, ``embedding`` and ``routes``.

raise must("be a text")                       # "input must be a text"
f"{field} is {quoted(value)}"                 # 'input is "abc"'
"""

import json
from typing import Any

from pydantic_core import PydanticCustomError

#: Error type of this application's own messages, which continue after the field's name: "must be ...".
MUST = "must"
#: Maximum number of characters of a value that a sentence quotes.
MAX_QUOTED = 60
OBJECT, LIST = "an object", "a list"


def must(sentence: str) -> PydanticCustomError:
    """Return an error whose message continues after the field's name: ``must("be a text")``."""
    # The sentence is a parameter, because pydantic would replace braces in the message itself.
    return PydanticCustomError(MUST, "must {sentence}", {"sentence": sentence})


def quoted(value: Any) -> str:
    """Return text that shows the value in an error message, at most ``MAX_QUOTED`` characters long.

    The text is the value as JSON. An object or a list that is not empty becomes ``OBJECT`` or ``LIST``, and
    bytes become "not JSON". A value that JSON does not support is shown with ``repr``.
    """
    if isinstance(value, bytes):
        return "not JSON"
    if isinstance(value, dict | list) and value:
        return OBJECT if isinstance(value, dict) else LIST
    try:
        return shortened(json.dumps(value, ensure_ascii=False), MAX_QUOTED)
    except (TypeError, ValueError):
        return shortened(repr(value), MAX_QUOTED)


def shortened(text: str, max_length: int) -> str:
    """Return the text. A text that is longer than ``max_length`` characters is cut and ends in "..."."""
    return text if len(text) <= max_length else text[: max_length - 3] + "..."
