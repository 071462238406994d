"""Writes checked events as CSV, which ``ingestion.ingest_rows`` copies into a temporary table.

An empty field without quotes is null; an empty text has quotes.

    event_csv([(1, event), (2, other)])             # bytes; the numbers are those of the rows of a file
"""

from collections.abc import Iterable
from typing import Any

from cluster.platform_data.read_events import PlatformEvent
from cluster.text.well_formed import json_bytes

#: Names of the columns, in the order of ``columns`` in ``ingestion.sql``. They are not read from there,
#: because the process that checks a file of events would import the database for it.
COLUMNS = (
    *("number", "source", "id", "type", "occurred_at", "properties"),
    *("agent", "agent_external", "customer", "customer_external", "conversation", "conversation_external"),
    *("message", "role", "text", "model", "latency_ms", "time_to_first_token_ms"),
    *("input_tokens", "output_tokens", "cost", "error_class", "retrieval_hit", "sources"),
)


def event_csv(events: Iterable[tuple[int, PlatformEvent]]) -> bytes:
    """Return one line for each event.

    Args:
        events: each with the number by which faults name it.
    """
    return "".join(_line({**event.values, "number": number}) for number, event in events).encode()


def _line(values: dict[str, Any]) -> str:
    return ",".join([_field(values.get(name)) for name in COLUMNS]) + "\n"


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, int)):
        return str(value)
    text = value if isinstance(value, str) else json_bytes(value).decode()
    return '"' + text.replace('"', '""') + '"'
