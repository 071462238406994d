"""POST /v1/events accepts events of customers and conversations.

GET /v1/event_types lists the event types with the schemas of their data.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field, field_validator, model_validator

from cluster.platform_data.event_types import EVENT_TYPES
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.request_model import RequestModel
from serve_app.edge.service_access import ServiceDep
from serve_app.messages import must
from serve_app.routes.platform_data.event_objects import (
    EventErrorObject,
    EventTypeList,
    EventTypeObject,
    IngestedEventsObject,
)

router = json_router()

#: Maximum number of events of one request.
MAX_EVENTS = 1_000
EVENT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "An event in the shape of CloudEvents 1.0.",
    "required": ["id", "source", "type", "time"],
    "properties": {
        "id": {"type": "string", "description": "Id of the event, unique for its source."},
        "source": {"type": "string", "description": "The system that sends the event, such as `/shop`."},
        "type": {"type": "string", "description": "Type of the event; `GET /v1/event_types` lists types."},
        "time": {"type": "string", "format": "date-time", "description": "The time at which it happened."},
        "subject": {"type": "string", "description": "Id of the customer, as the sender names it."},
        "data": {"type": "object", "description": "The details; the schema depends on the type."},
        "specversion": {"type": "string", "description": "`1.0`; an event that is sent alone needs it."},
    },
}


class EventsRequest(RequestModel):
    """Events to store. A JSON array of events, or one event, may be sent instead of this object."""

    events: Annotated[list[Any], Field(min_length=1, json_schema_extra={"items": dict(EVENT_SCHEMA)})]
    """Up to 1,000 events."""

    @model_validator(mode="before")
    @classmethod
    def _wrapped(cls, body: Any) -> Any:
        if isinstance(body, list):
            return {"events": body}
        return {"events": [body]} if isinstance(body, dict) and "specversion" in body else body

    @field_validator("events")
    @classmethod
    def _not_too_many(cls, events: list[Any]) -> list[Any]:
        if len(events) > MAX_EVENTS:
            raise must(f"have at most {MAX_EVENTS:,} events, and has {len(events):,}; send several requests")
        return events


@router.post("/v1/events", summary="Send events")
async def create(
    body: EventsRequest, service: ServiceDep, organisation: Organisation
) -> IngestedEventsObject:
    """Accepts up to 1,000 events. A wrong event gets an error in the answer; all other events are accepted.

    An event with the source and id of an earlier event is a duplicate and changes nothing, so a client can
    send a request again. The media types `application/json`, `application/cloudevents+json` (one event) and
    `application/cloudevents-batch+json` are accepted.
    """
    events, faults = read_events(organisation, body.events)

    def write(connection: Connection[Any]) -> IngestedEventsObject:
        ingested = ingest(connection, organisation, events)
        errors = sorted([*faults, *ingested.faults], key=lambda fault: fault.index)
        return IngestedEventsObject(
            accepted=ingested.accepted,
            duplicates=ingested.duplicates,
            errors=[EventErrorObject.of(fault) for fault in errors],
        )

    return await service.in_transaction(write)


@router.get("/v1/event_types", summary="List the known event types")
async def list_event_types(organisation: Organisation) -> EventTypeList:
    """Lists the known types with the JSON Schema of their `data`. Events of other types are kept as custom
    events.
    """
    del organisation  # all organisations have the same types
    return EventTypeList(data=[EventTypeObject.of(name, model) for name, model in EVENT_TYPES.items()])
