"""The models of the requests and answers of webhooks. They have the fields of OpenAI's API, and further
fields of this project.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from cluster.secrets import Secret
from cluster.webhooks.deliveries import Delivery, DeliveryState
from cluster.webhooks.endpoints import WebhookEndpoint
from cluster.webhooks.event_types import EVENT_TYPES
from cluster.webhooks.signature import PREFIX
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.routes.files import unix

EventTypes = Annotated[list[Text], Field(min_length=1, max_length=len(EVENT_TYPES))]


class NewEndpointRequest(RequestModel):
    """A new webhook endpoint."""

    url: Text
    """The URL that receives the events, `https://...`. Its host must be on the public internet."""
    event_types: EventTypes
    """The types of the events to send; `GET /v1/webhook_event_types` lists them."""
    name: Text = ""
    """Name of the endpoint, for people."""
    enabled: bool = True
    """False: the endpoint gets no events until it is enabled."""


class EndpointChangesRequest(RequestModel):
    """Changes of a webhook endpoint. A field that is not given does not change."""

    url: Text | None = None
    """The new URL."""
    event_types: EventTypes | None = None
    """The new list of event types, which replaces the earlier list."""
    name: Text | None = None
    """The new name."""
    enabled: bool | None = None
    """False: the endpoint gets no events, and pending deliveries wait. True: the endpoint gets events, and
    pending deliveries are sent.
    """


class RotateSecretRequest(RequestModel):
    """Options of a rotation."""

    keep_old_secret_active_for_24_hours: bool = False
    """True: for 24 hours, each request is also signed with the previous secret. False: the previous secret
    becomes invalid at once."""


class SampleEventRequest(RequestModel):
    """The event to send as a test."""

    event_type: Text | None = None
    """Type of the event; by default the first type of the endpoint."""


class WebhookEndpointObject(ResponseModel):
    """OpenAI's WebhookEndpoint, with `enabled` and the fields after `enabled` added. Times are in seconds
    since 1970.
    """

    id: str
    """Id of the endpoint, `we_...`."""
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    """Always `webhook_endpoint`."""
    created_at: int
    """Time at which the endpoint was created."""
    updated_at: int
    """Time of the last change of the endpoint or of its secret."""
    url: str
    """The URL that receives the events."""
    name: str
    """Name of the endpoint, for people; empty if the endpoint has no name."""
    event_types: list[str]
    """The types of the events that are sent, in alphabetical order."""
    signing_secret_hint: str
    """The prefix and the last characters of the secret, with dots between them."""
    enabled: bool
    """False: the endpoint gets no events."""
    disabled_reason: str | None
    """The reason why the cluster disabled the endpoint; null if the endpoint is enabled, or if a
    person disabled the endpoint."""
    failing_since: int | None
    """Time of the first failed attempt since the last success; null if no attempt has failed since then."""

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Self:
        """Convert the endpoint into the object that answers contain."""
        return cls(**_endpoint_fields(endpoint))


class WebhookEndpointWithSecretObject(WebhookEndpointObject):
    """A webhook endpoint with its new secret."""

    signing_secret: str
    """The secret, `whsec_...`. No later answer shows the secret."""

    @classmethod
    def showing(cls, endpoint: WebhookEndpoint, secret: Secret) -> Self:
        """Convert the endpoint and its secret into the object that answers contain."""
        return cls(**_endpoint_fields(endpoint), signing_secret=secret.reveal())


class WebhookEndpointList(ListObject[WebhookEndpointObject]):
    """One page of the webhook endpoints."""


class DeletedWebhookEndpoint(ResponseModel):
    """Confirms that a webhook endpoint was deleted."""

    id: str
    """Id of the endpoint."""
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    """Always `webhook_endpoint.deleted`."""
    deleted: bool = True
    """Always true."""


class WebhookTestResult(ResponseModel):
    """Shows how an endpoint answered a test event."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    """Always `webhook_endpoint.test`."""
    webhook_endpoint_id: str
    """Id of the endpoint."""
    event_type: str
    """Type of the event that was sent."""
    success: Literal[True] = True
    """Always true, because the endpoint answered. `status_code` is the status of its answer."""
    status_code: int
    """HTTP status of the endpoint's answer. An event counts as delivered if the status is from 200 to 299."""


class WebhookEventTypeList(ResponseModel):
    """The event types."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[str]
    """The event types that an endpoint can subscribe to."""


class DeliveryObject(ResponseModel):
    """The delivery of one event to one endpoint. Times are in seconds since 1970."""

    id: str
    """Id of the event, `evt_...`. Every attempt sends this id in the header `webhook-id`."""
    object: Literal["webhook_endpoint.delivery"] = "webhook_endpoint.delivery"
    """Always `webhook_endpoint.delivery`."""
    webhook_endpoint_id: str
    """Id of the endpoint."""
    type: str
    """Type of the event."""
    data: dict[str, Any]
    """The data of the event; `id` is the id of the thing that the event is about."""
    status: DeliveryState
    """`pending` at first, then `succeeded` or `failed`."""
    attempts: int
    """Number of attempts since the event was recorded or sent again."""
    created_at: int
    """Time of the event."""
    last_attempt_at: int | None
    """Time of the last attempt; null if there was no attempt."""
    next_attempt_at: int | None
    """Time of the next attempt; null if no attempt is planned, an attempt runs, or the endpoint is
    disabled.
    """
    response_status: int | None
    """HTTP status of the endpoint's answer to the last attempt; null if there was no answer."""
    error: str | None
    """The reason why the last attempt failed; null if the attempt did not fail."""
    ended_at: int | None
    """Time at which the delivery succeeded or failed; null while the delivery is pending."""

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Convert the delivery into the object that answers contain."""
        last, next, ended = delivery.last_attempt_at, delivery.next_attempt_at, delivery.ended_at
        return cls(
            id=delivery.event,
            webhook_endpoint_id=delivery.endpoint,
            type=delivery.type,
            data=delivery.data,
            status=delivery.state,
            attempts=delivery.attempts,
            created_at=unix(delivery.created_at),
            last_attempt_at=None if last is None else unix(last),
            next_attempt_at=None if next is None else unix(next),
            response_status=delivery.response_status,
            error=delivery.error,
            ended_at=None if ended is None else unix(ended),
        )


class DeliveryList(ListObject[DeliveryObject]):
    """One page of the delivery log of an endpoint."""


def _endpoint_fields(endpoint: WebhookEndpoint) -> dict[str, Any]:
    failing = endpoint.failing_since
    return {
        "id": endpoint.id,
        "created_at": unix(endpoint.created_at),
        "updated_at": unix(endpoint.updated_at),
        "url": endpoint.url,
        "name": endpoint.name,
        "event_types": endpoint.event_types,
        "signing_secret_hint": f"{PREFIX}...{endpoint.hint}",
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": None if failing is None else unix(failing),
    }
