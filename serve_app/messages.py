"""Parts of sentences about wrong values in requests. Both ``edge`` and ``embedding`` use them.

raise must("be a text")                       # "input must be a text"
f"{field} is {quoted(value)}"                 # 'input is "abc"'
"""

import json
from typing import Any

from pydantic_core import PydanticCustomError

#: Error type of this application's own messages, which continue after the field's name: "must be ...".
MUST = "must"
#: Characters of a value that a sentence quotes.
MAX_QUOTED = 60
OBJECT, LIST = "an object", "a list"


def must(sentence: str) -> PydanticCustomError:
    """An error whose message continues after the field's name: ``must("be a text")``."""
    # The sentence is a parameter, because pydantic reads braces in the message as templates.
    return PydanticCustomError(MUST, "must {sentence}", {"sentence": sentence})


def quoted(value: Any) -> str:
    """The value as a sentence quotes it, at most ``MAX_QUOTED`` characters long."""
    if isinstance(value, bytes):
        return "not JSON"
    if isinstance(value, dict | list) and value:
        return OBJECT if isinstance(value, dict) else LIST
    try:
        return shortened(json.dumps(value, ensure_ascii=False), MAX_QUOTED)
    except (TypeError, ValueError):
        return shortened(repr(value), MAX_QUOTED)


def shortened(text: str, max_length: int) -> str:
    """The text, cut to this number of characters."""
    return text if len(text) <= max_length else text[: max_length - 3] + "..."
