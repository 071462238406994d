"""The table of the known event types. Events of other types are kept as custom events.

``read_events`` looks a type up, and ``GET /v1/event_types`` publishes the table. To add a type, add its model
to ``event_data`` and a row here.

    EVENT_TYPES["message.created"].model_json_schema()
"""

from collections.abc import Mapping
from types import MappingProxyType

from cluster.platform_data.event_data import (
    ConversationEnded,
    ConversationHandedOver,
    ConversationRated,
    ConversationStarted,
    CustomerSeen,
    ErrorRaised,
    EventData,
    MessageCreated,
    PurchaseCompleted,
    RequestCompleted,
)

EVENT_TYPES: Mapping[str, type[EventData]] = MappingProxyType(
    {
        "conversation.ended": ConversationEnded,
        "conversation.handed_over": ConversationHandedOver,
        "conversation.rated": ConversationRated,
        "conversation.started": ConversationStarted,
        "customer.seen": CustomerSeen,
        "error.raised": ErrorRaised,
        "message.created": MessageCreated,
        "purchase.completed": PurchaseCompleted,
        "request.completed": RequestCompleted,
    }
)
