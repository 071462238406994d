"""Reads the events of an answer that our endpoint streams. The demo and the evaluation of agents use this
module.

for event in answer_events(response):     # lines of POST /v1/chat/completions with "stream": true
    event["choices"][0]["delta"].get("content")
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from cluster.errors import Unavailable

#: Beginning of the lines with data in a stream of server-sent events, and the data that ends an answer.
DATA, END = b"data: ", b"[DONE]"


def answer_events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of each event, except the event ``[DONE]`` that ends the answer.

    Raises:
        Unavailable: an event has an error, so the answer is not complete.
    """
    for line in lines:
        if not line.startswith(DATA) or line.startswith(DATA + END):
            continue
        event = json.loads(line.removeprefix(DATA))
        if "error" in event:
            raise Unavailable(f"the answer broke off: {event['error'].get('message')}")
        yield event
