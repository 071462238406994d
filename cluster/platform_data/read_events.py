"""Checks events in the shape of CloudEvents 1.0, and turns each into the values of its rows.

``POST /v1/events`` calls ``read_events``. A wrong event becomes a fault; the other events
are still read. The shape is described at https://github.com/cloudevents/spec.

    events, faults = read_events("acme", [{"id": "1", "source": "/shop", "type": "customer.seen", ...}])
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cluster.platform_data.event_data import MAX_ID_CHARACTERS, EventData, MessageCreated
from cluster.platform_data.event_types import EVENT_TYPES
from cluster.platform_data.ids import row_id
from cluster.text.well_formed import json_bytes

#: An event may be this far in the future, because clocks differ.
MAX_AHEAD = timedelta(hours=24)
#: Events before this time are refused, because such a time is a mistake in the sender's clock.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
#: Maximum number of bytes of the data of one event, as JSON in UTF-8.
MAX_DATA_BYTES = 1_000_000
MAX_TYPE_CHARACTERS = 128
SPECVERSION = "1.0"
#: A time in RFC 3339: a date, a time of day and an offset from UTC.
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
#: The fields of an event's data that have columns of their own.
IDS = frozenset(EventData.model_fields)
#: Events that must name their customer.
OF_CUSTOMERS = frozenset({"customer.seen", "purchase.completed"})
#: The columns of a message that have the names of fields of its event.
MESSAGE_COLUMNS = frozenset(MessageCreated.model_fields) - IDS


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFault:
    """Says why an event is not accepted."""

    #: Position of the event in the request, from 0.
    index: int
    #: Id of the event; None if it has none that can be read.
    id: str | None
    #: The wrong field, such as ``data.rating``.
    field: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformEvent:
    """One checked event."""

    index: int
    source: str
    id: str
    #: The values of the parameter of the statement ``ingest`` (``ingestion.sql``).
    values: dict[str, Any]


class _Wrong(Exception):
    """Raised if a field of an event is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_events(
    organisation: str, rows: Iterable[Any], *, now: datetime | None = None
) -> tuple[list[PlatformEvent], list[EventFault]]:
    """Check the rows, and return the correct events and the faults of the others.

    Args:
        organisation: the owner of the events.
        rows: the events as read from JSON.
        now: the current time, for the check of events in the future.
    """
    latest = (now or datetime.now(UTC)) + MAX_AHEAD
    events, faults = [], []
    for index, row in enumerate(rows):
        try:
            events.append(_event(organisation, index, row, latest))
        except _Wrong as exc:
            id = row.get("id") if isinstance(row, dict) else None
            shown = id if isinstance(id, str) and len(id) <= MAX_ID_CHARACTERS else None
            faults.append(EventFault(index=index, id=shown, field=exc.field, message=str(exc)))
    return events, faults


def _event(organisation: str, index: int, row: Any, latest: datetime) -> PlatformEvent:
    if not isinstance(row, dict):
        raise _Wrong("", "an event must be a JSON object")
    if row.get("specversion", SPECVERSION) != SPECVERSION:
        raise _Wrong("specversion", f"must be {SPECVERSION!r}, or left out")
    id, source = _text(row, "id", MAX_ID_CHARACTERS), _text(row, "source", MAX_ID_CHARACTERS)
    type = _text(row, "type", MAX_TYPE_CHARACTERS)
    given = row.get("data")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise _Wrong("data", "must be a JSON object; data_base64 and other types of data are not accepted")
    given = {name: value for name, value in given.items() if value is not None}
    _require_storable(given)
    model = EVENT_TYPES.get(type, EventData)
    try:
        data = model.model_validate(given)
    except ValidationError as exc:
        raise _wrong_data(exc.errors(include_url=False, include_input=False)[0]) from exc
    subject = None if row.get("subject") in (None, "") else _text(row, "subject", MAX_ID_CHARACTERS)
    values = {
        "source": source,
        "id": id,
        "type": type,
        "occurred_at": _time(row.get("time"), latest).isoformat(),
        **_references(organisation, data, subject),
        **_details(organisation, source, id, data, given),
    }
    if type in OF_CUSTOMERS and values["customer"] is None:
        raise _Wrong("subject", "must name the customer, or data.customer_id must name it")
    return PlatformEvent(index=index, source=source, id=id, values=values)


def _references(organisation: str, data: EventData, subject: str | None) -> dict[str, Any]:
    """Return the id and the external id of the agent, the customer and the conversation."""
    found: dict[str, Any] = {}
    for prefix, name, external in (
        ("agent", "agent", data.agent_id),
        ("cust", "customer", data.customer_id or subject),
        ("conv", "conversation", data.conversation_id),
    ):
        found[f"{name}_external"] = external
        found[name] = None if external is None else row_id(prefix, organisation, external)
    return found


def _details(
    organisation: str, source: str, id: str, data: EventData, given: dict[str, Any]
) -> dict[str, Any]:
    """Return what the event says about its message, conversation or customer, and its other properties."""
    known = data.model_dump(mode="json", include=type(data).model_fields.keys() - IDS)
    if isinstance(data, MessageCreated):
        stored = {**known, "message": row_id("msg", organisation, source, id)}
        # The text of a message is in its own table only.
        return {
            **stored,
            "properties": {n: v for n, v in given.items() if n not in IDS | MESSAGE_COLUMNS},
        }
    extra = {name: value for name, value in given.items() if name not in IDS | known.keys()}
    return {
        "properties": {**extra, **{name: value for name, value in known.items() if value not in (None, {})}},
    }


def _text(row: dict[str, Any], field: str, most: int) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value:
        raise _Wrong(field, "must be text with at least one character")
    if len(value) > most:
        raise _Wrong(field, f"has {len(value):,} characters; it may have {most:,}")
    _require_storable(value, field)
    return value


def _time(value: Any, latest: datetime) -> datetime:
    if not isinstance(value, str) or RFC_3339.fullmatch(value) is None:
        raise _Wrong("time", "must be a time in RFC 3339 with its zone, such as 2026-01-31T12:00:00Z")
    try:
        time = datetime.fromisoformat(value.upper().replace(" ", "T")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Wrong("time", "is not a date and a time of day that exist") from None
    if time > latest:
        raise _Wrong("time", "is more than 24 hours in the future; send the time at which it happened")
    if time < EARLIEST:
        raise _Wrong("time", "is before the year 2000; send the time at which it happened")
    return time


def _require_storable(value: Any, field: str = "data") -> None:
    """Refuse text that Postgres cannot store, and data over the limit.

    A check of the whole value's JSON takes less time than a check of each text in it.
    """
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogatepass")
        wrong = b"\0" in encoded or encoded != value.encode("utf-8", "ignore")
    else:
        encoded = json_bytes(value)
        if len(encoded) > MAX_DATA_BYTES:
            raise _Wrong(field, f"has {len(encoded):,} bytes; it may have {MAX_DATA_BYTES:,}")
        wrong = (b"\\u0000" in encoded or b"\xef\xbf\xbd" in encoded) and not _all_storable(value)
    if wrong:
        raise _Wrong(field, "must not have a NUL character or half of a surrogate pair")


def _all_storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and value == value.encode("utf-8", "ignore").decode()
    if isinstance(value, dict):
        return all(_all_storable(name) and _all_storable(one) for name, one in value.items())
    return all(map(_all_storable, value)) if isinstance(value, list) else True


def _wrong_data(error: ErrorDetails) -> _Wrong:
    field = ".".join(map(str, ("data", *error["loc"])))
    reason = error["msg"]
    return _Wrong(field, "is missing" if error["type"] == "missing" else reason[0].lower() + reason[1:])
