"""Reads JSON that clients send: bodies of requests, and lines of batches.

read_json(b'{"input": "a text"}')            # {"input": "a text"}
"""

import json
import re
from contextlib import suppress
from typing import Any, NoReturn

import orjson


class UnreadableJson(ValueError):
    """Raised for bytes that may be JSON but that this module refuses. The message gives the reason."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


#: Pattern of 19 digits. An integer with so many digits may be too long for orjson, which would return the
#: integer as a float. So Python's parser, which is five times slower, reads bytes that match.
LONG_NUMBER = re.compile(rb"\d{19}")
PYTHON_PARSER = json.JSONDecoder(parse_constant=_refuse_constant)


def read_json(data: bytes) -> Any:
    """Return the value that the bytes hold.

    Raises:
        json.JSONDecodeError: the bytes are not JSON.
        UnreadableJson: the bytes are not UTF-8, have too many levels, or hold NaN, infinity or a number with
            too many digits.
    """
    if not LONG_NUMBER.search(data):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(data)
    try:
        return PYTHON_PARSER.decode(data.decode(json.detect_encoding(data)))
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as exc:
        raise UnreadableJson("it is not UTF-8; encode it as UTF-8") from exc
    except RecursionError as exc:
        raise UnreadableJson("its lists and objects are nested too deeply; send fewer levels") from exc
    except ValueError as exc:  # for NaN, Infinity and numbers with thousands of digits
        raise UnreadableJson(str(exc).partition(":")[0]) from exc
