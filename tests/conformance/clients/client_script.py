"""Shared code of the clients' scripts: read the task, call the client, print the results as JSON."""

import json
import sys
from collections.abc import Callable
from typing import Any


def task() -> dict[str, Any]:
    """``base_url``, ``model``, ``texts``, ``long``, ``question`` and ``agents``, from standard input.

    ``agents`` names, for each way of answering, the ``base_url`` of the endpoint and the agent's ``model``.
    """
    return json.load(sys.stdin)


def error_of(call: Callable[[], Any]) -> dict[str, str]:
    """Names of the classes, and the message, of the exception that the call raises."""
    try:
        call()
    except Exception as exc:  # noqa: BLE001  the test wants any exception of the client
        return {"classes": " ".join(kind.__name__ for kind in type(exc).__mro__), "message": str(exc)}
    return {"classes": "", "message": "no error"}


def print_results(**found: Any) -> None:
    """Print the results as the script's last line."""
    print(json.dumps(found))
