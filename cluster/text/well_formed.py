"""Writes JSON that every parser can read, for responses and log lines that may contain any text.

A request in JSON can contain half of a surrogate pair (``"\\ud800"``), which UTF-8 cannot encode. This module
replaces each such half with U+FFFD.

    json_bytes({"model": "\\ud800"})            # b'{"model":"\\xef\\xbf\\xbd"}'
"""

import json
from collections.abc import Callable
from typing import Any

import orjson

#: Maximum nesting depth of a repaired value. This is lower than the limit of orjson (orjson's documentation,
#: "dumps"), because a response adds levels around the value.
MAX_DEPTH = 200
#: Options of orjson for the first attempt (``FAST``) and for the second attempt (``COMPLETE``). Support for
#: keys that are not text makes every object slower, so only the second attempt has this support.
FAST, COMPLETE = orjson.OPT_SERIALIZE_NUMPY, orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def well_formed(text: str) -> str:
    """Return the text with U+FFFD in place of each half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def json_bytes(value: Any, *, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return the value as JSON in UTF-8. NumPy arrays become lists; NaN and infinity become null.

    Args:
        value: the value to write. If the value needs repair, parts below ``MAX_DEPTH`` levels are left out.
        default: converts a value that JSON cannot hold. None: a value that JSON cannot hold is an error.

    Raises:
        TypeError: JSON cannot hold a part of the value, and there is no ``default``.
    """
    try:
        return orjson.dumps(value, default=default, option=FAST)
    except TypeError:
        # The value has half of a surrogate pair, a number of more than 64 bits, a key that is not text, or a
        # part that JSON cannot hold. These are rare, so the repair runs only after a failed attempt.
        repaired = _repaired(value, MAX_DEPTH)
    try:
        return orjson.dumps(repaired, default=_repaired_default(default), option=COMPLETE)
    except TypeError:
        return json.dumps(
            repaired,
            default=_repaired_default(default or _as_list),
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()


def _repaired(value: Any, depth: int) -> Any:
    match value:
        case str():
            return well_formed(value)
        case float():
            return value if abs(value) < float("inf") else None
        case dict():
            return (
                {_repaired_key(key): _repaired(one, depth - 1) for key, one in value.items()} if depth else {}
            )
        case list() | tuple():
            return [_repaired(one, depth - 1) for one in value] if depth else []
    return value


def _repaired_key(key: Any) -> Any:
    return well_formed(key) if isinstance(key, str) else key


def _repaired_default(default: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if default is None else lambda value: _repaired(default(value), MAX_DEPTH)


def _as_list(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")
