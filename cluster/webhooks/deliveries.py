"""Deliver events to endpoints: record events, read the delivery log, send a delivery again.

    record_event(connection, "acme", "job.succeeded", {"id": "job_1"})   # in the transaction of the work
    list_deliveries(connection, "acme", "we_1", page)

An event has one delivery for each endpoint that subscribes to its type. ``outbox`` claims deliveries that are
due, and records how their attempts ended.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import Conflict, NotFound
from cluster.webhooks.endpoints import get_endpoint
from cluster.webhooks.event_types import EVENT_TYPES


class DeliveryState(StrEnum):
    """The state of a delivery."""

    #: The next attempt is due at a known time, or an attempt runs.
    PENDING = "pending"
    #: The endpoint answered with a status from 200 to 299.
    SUCCEEDED = "succeeded"
    #: No attempt succeeded before the deadline. The delivery can be sent again.
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """The delivery of one event to one endpoint."""

    organisation: str
    endpoint: str
    #: Id of the event.
    event: str
    #: Type of the event.
    type: str
    #: The data of the event.
    data: dict[str, Any]
    state: DeliveryState
    #: Number of attempts since the event was recorded or sent again.
    attempts: int
    #: Time of the event.
    created_at: datetime
    last_attempt_at: datetime | None
    #: Time of the next attempt; None if no attempt is planned, or an attempt runs now.
    next_attempt_at: datetime | None
    #: Status of the answer to the last attempt; None if there was no answer.
    response_status: int | None
    #: The reason why the last attempt failed; None if the attempt succeeded.
    error: str | None
    ended_at: datetime | None


#: The SQL of fields of ``Delivery`` that are not columns of ``webhook_deliveries``.
COMPUTED = {
    "type": "event.type",
    "data": "event.data",
    "next_attempt_at": "CASE WHEN delivery.state = 'pending' AND delivery.holder IS NULL"
    " AND delivery.due_at < 'infinity' THEN delivery.due_at END AS next_attempt_at",
}
COLUMNS = ", ".join(COMPUTED.get(field.name, f"delivery.{field.name}") for field in fields(Delivery))
TABLES = """webhook_deliveries AS delivery
JOIN webhook_events AS event ON (event.organisation, event.id) = (delivery.organisation, delivery.event)"""
SQL = {
    name: text.replace("{columns}", COLUMNS).replace("{tables}", TABLES)
    for name, text in queries("cluster.webhooks", "deliveries.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def record_event(
    connection: Connection[Any], organisation: str, type: str, data: dict[str, Any]
) -> str | None:
    """Record an event in the caller's transaction, which ends the work that the event is about.

    Args:
        type: a key of ``EVENT_TYPES``.
        data: what receivers get; ``id`` names the thing that the event is about.

    Returns:
        The id of the event; None if nothing was written, because no enabled endpoint subscribes to the type.
    """
    assert type in EVENT_TYPES, f"the table of event types has no {type}"
    values = {"organisation": organisation, "type": type, "data": Jsonb(data)}
    row = connection.execute(SQL["record"], values).fetchone()
    return None if row is None else row[0]


def get_delivery(connection: Connection[Any], organisation: str, endpoint: str, event: str) -> Delivery:
    """Return the delivery of the event to the endpoint.

    Raises:
        NotFound: the organisation has no such delivery.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], _key(organisation, endpoint, event)).fetchone()
    if row is None:
        raise NotFound(f"no delivery of event {event!r} to webhook endpoint {endpoint!r}")
    return _delivery(row)


def list_deliveries(
    connection: Connection[Any], organisation: str, endpoint: str, page: PageRequest
) -> ListPage[Delivery]:
    """Return one page of the endpoint's delivery log. The cursor of the page is the id of the event of a
    delivery.

    Raises:
        NotFound: the organisation has no such endpoint.
        InvalidInput: the page's cursor names no event of the log.
    """
    get_endpoint(connection, organisation, endpoint)
    rows = read_page(connection, LISTS, {"organisation": organisation, "endpoint": endpoint}, page)
    return ListPage(items=[_delivery(row) for row in rows.items], has_more=rows.has_more)


def redeliver(connection: Connection[Any], organisation: str, endpoint: str, event: str) -> Delivery:
    """Send the event to the endpoint again, with the same id. The number of attempts and the deadline start
    again.

    Raises:
        NotFound: the organisation has no such delivery.
        Conflict: the endpoint is disabled, or an attempt runs now.
    """
    if not get_endpoint(connection, organisation, endpoint).enabled:
        raise Conflict(f"webhook endpoint {endpoint} is disabled; enable it first")
    get_delivery(connection, organisation, endpoint, event)
    if connection.execute(SQL["redeliver"], _key(organisation, endpoint, event)).rowcount == 0:
        raise Conflict(f"event {event} is being sent to webhook endpoint {endpoint} now; try again later")
    return get_delivery(connection, organisation, endpoint, event)


def _key(organisation: str, endpoint: str, event: str) -> dict[str, Any]:
    return {"organisation": organisation, "endpoint": endpoint, "id": event}


def _delivery(row: dict[str, Any]) -> Delivery:
    return Delivery(**{**row, "state": DeliveryState(row["state"])})
