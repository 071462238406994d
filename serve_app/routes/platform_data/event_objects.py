"""The models of the answers of the routes about events."""

from typing import Any, Literal, Self

from cluster.platform_data.event_data import EventData
from cluster.platform_data.read_events import EventFault
from serve_app.edge.response_model import ResponseModel

#: The model of the data of one event type.
DataModel = type[EventData]


class EventErrorObject(ResponseModel):
    """The reason why one event was not accepted."""

    index: int
    """Position of the event in the request, from 0."""
    id: str | None
    """Id of the event; null if the event has no id that can be read."""
    field: str
    """The wrong field, such as `data.rating`; empty if the event is not an object."""
    message: str
    """What is wrong with the field."""

    @classmethod
    def of(cls, fault: EventFault) -> Self:
        """Convert the fault into the object that answers contain."""
        return cls(index=fault.index, id=fault.id, field=fault.field, message=fault.message)


class IngestedEventsObject(ResponseModel):
    """The outcome of a request with events. Each event of the request is counted once."""

    object: Literal["event_ingestion"] = "event_ingestion"
    """Always `event_ingestion`."""
    accepted: int
    """Number of events that are new and are now stored."""
    duplicates: int
    """Number of events whose source and id were known already."""
    errors: list[EventErrorObject]
    """The events that were not accepted, in the order of the request."""


class EventTypeObject(ResponseModel):
    """A known event type."""

    object: Literal["event_type"] = "event_type"
    """Always `event_type`."""
    type: str
    """Name of the type."""
    description: str
    """What an event of this type means."""
    data_schema: dict[str, Any]
    """JSON Schema of the field `data`."""

    @classmethod
    def of(cls, name: str, model: DataModel) -> Self:
        """Convert the event type, with the schema of its data, into the object that answers contain."""
        schema = model.model_json_schema()
        return cls(type=name, description=schema.pop("description"), data_schema=schema)


class EventTypeList(ResponseModel):
    """All known event types."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[EventTypeObject]
    """The types in alphabetical order."""
