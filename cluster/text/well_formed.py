"""JSON that every parser reads, whatever text is in it: for answers to clients and for log lines.

A JSON body can spell half of a surrogate pair (``"\\ud800"``), which UTF-8 cannot carry. Such halves become U+FFFD here.

    json_bytes({"model": "\\ud800"})            # b'{"model":"\\xef\\xbf\\xbd"}'
"""

import json
from collections.abc import Callable
from typing import Any

import orjson

#: orjson writes no deeper than this (its documentation, "dumps"), less what an answer puts around a value.
MAX_DEPTH = 200
#: Keys that are no text cost time in every object, so they are allowed only where the first try failed.
FAST, PATIENT = orjson.OPT_SERIALIZE_NUMPY, orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def well_formed(text: str) -> str:
    """The text with U+FFFD in place of each half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def json_bytes(value: Any, *, default: Callable[[Any], Any] | None = None) -> bytes:
    """The value as JSON in UTF-8. NumPy arrays are lists, numbers that JSON does not have are null.

    Args:
        value: nested deeper than ``MAX_DEPTH``, its inner parts are left out.
        default: gives a value for what JSON cannot hold; None: such a value is an error.

    Raises:
        TypeError: it holds what JSON cannot, and there is no ``default``.
    """
    try:
        return orjson.dumps(value, default=default, option=FAST)
    except TypeError:  # half a surrogate pair, a number of more than 64 bits, a key that is no text: rare, so mended only afterwards
        mended = _mended(value, MAX_DEPTH)
    try:
        return orjson.dumps(mended, default=_mended_default(default), option=PATIENT)
    except TypeError:
        return json.dumps(
            mended, default=_mended_default(default or _listed), ensure_ascii=False, separators=(",", ":")
        ).encode()


def _mended(value: Any, depth: int) -> Any:
    match value:
        case str():
            return well_formed(value)
        case float():
            return value if abs(value) < float("inf") else None
        case dict():
            return {_mended_key(key): _mended(one, depth - 1) for key, one in value.items()} if depth else {}
        case list() | tuple():
            return [_mended(one, depth - 1) for one in value] if depth else []
    return value


def _mended_key(key: Any) -> Any:
    return well_formed(key) if isinstance(key, str) else key


def _mended_default(default: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if default is None else lambda value: _mended(default(value), MAX_DEPTH)


def _listed(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")
