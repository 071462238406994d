"""What every client's script does alike: read the task, call the client, print what came of it as JSON."""

import json
import sys
from collections.abc import Callable
from typing import Any


def task() -> dict[str, Any]:
    """``base_url``, ``model``, ``texts`` and ``long``, from standard input."""
    return json.load(sys.stdin)


def error_of(call: Callable[[], Any]) -> dict[str, str]:
    """The client's own error: the names of its classes, and its words."""
    try:
        call()
    except Exception as exc:  # noqa: BLE001  whatever the client throws is what is asked for
        return {"classes": " ".join(kind.__name__ for kind in type(exc).__mro__), "message": str(exc)}
    return {"classes": "", "message": "no error"}


def tell(**found: Any) -> None:
    """Print the last line."""
    print(json.dumps(found))
