"""/v1/webhooks: create, get, list, change, delete and test webhook endpoints, and rotate their secrets.

The paths that begin with ``/v1/webhook_endpoints`` are for OpenAI's clients (``client.webhooks.create(...)``)
and do the same as those that begin with ``/v1/webhooks``.

Answers with a secret are not stored for requests with an ``Idempotency-Key``, because stored answers are not
encrypted. A repeated request to create an endpoint is refused, because an endpoint with this URL exists.
"""

from datetime import UTC, datetime
from uuid import uuid4

from cluster.errors import Conflict, InvalidInput, Misconfigured
from cluster.outbound import Refused
from cluster.secrets import SecretCipher, open_cipher
from cluster.secrets.webhook_secrets import valid_secrets
from cluster.webhooks import endpoints
from cluster.webhooks.endpoints import MAX_URL_CHARACTERS, EndpointChanges, NewEndpoint
from cluster.webhooks.event_types import EVENT_TYPES
from cluster.webhooks.sending import event_body, send
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.webhooks.webhook_objects import (
    DeletedWebhookEndpoint,
    EndpointChangesRequest,
    NewEndpointRequest,
    RotateSecretRequest,
    SampleEventRequest,
    WebhookEndpointList,
    WebhookEndpointObject,
    WebhookEndpointWithSecretObject,
    WebhookEventTypeList,
    WebhookTestResult,
)
from serve_app.service import Service

router = json_router(404)
CHANGES = documented_errors(404, 409, 429)


@router.post("/v1/webhooks", summary="Create a webhook endpoint", responses=CHANGES)
@router.post("/v1/webhook_endpoints", summary="Create a webhook endpoint (OpenAI)", responses=CHANGES)
async def create(
    body: NewEndpointRequest, service: ServiceDep, organisation: Organisation
) -> WebhookEndpointWithSecretObject:
    """Creates an endpoint, and shows its secret. No later answer shows the secret."""
    _check_url(service, body.url)
    cipher, limit = _cipher(service), service.settings.webhook_endpoints
    new = NewEndpoint(url=body.url, event_types=body.event_types, name=body.name, enabled=body.enabled)
    made, secret = await service.in_transaction(
        lambda connection: endpoints.create_endpoint(connection, cipher, organisation, new, limit=limit)
    )
    return WebhookEndpointWithSecretObject.showing(made, secret)


@router.get("/v1/webhooks", summary="List webhook endpoints")
@router.get("/v1/webhook_endpoints", summary="List webhook endpoints (OpenAI)")
async def list_all(page: PageDep, service: ServiceDep, organisation: Organisation) -> WebhookEndpointList:
    """Lists the webhook endpoints of the caller's organisation, one page at a time."""
    found = await service.read(lambda connection: endpoints.list_endpoints(connection, organisation, page))
    return WebhookEndpointList.of(found, WebhookEndpointObject.of, lambda endpoint: endpoint.id)


@router.get("/v1/webhook_event_types", summary="List the event types of webhooks")
async def list_event_types(organisation: Organisation) -> WebhookEventTypeList:
    """Lists the event types that an endpoint can subscribe to."""
    del organisation  # all organisations have the same types
    return WebhookEventTypeList(data=list(EVENT_TYPES))


@router.get("/v1/webhooks/{webhook_endpoint_id}", summary="Get a webhook endpoint")
@router.get("/v1/webhook_endpoints/{webhook_endpoint_id}", summary="Get a webhook endpoint (OpenAI)")
async def retrieve(
    webhook_endpoint_id: str, service: ServiceDep, organisation: Organisation
) -> WebhookEndpointObject:
    """Shows the endpoint, and whether its last attempts failed."""
    return WebhookEndpointObject.of(
        await service.read(
            lambda connection: endpoints.get_endpoint(connection, organisation, webhook_endpoint_id)
        )
    )


@router.patch("/v1/webhooks/{webhook_endpoint_id}", summary="Change a webhook endpoint", responses=CHANGES)
@router.post(
    "/v1/webhook_endpoints/{webhook_endpoint_id}",
    summary="Change a webhook endpoint (OpenAI)",
    responses=CHANGES,
)
async def change(
    webhook_endpoint_id: str, body: EndpointChangesRequest, service: ServiceDep, organisation: Organisation
) -> WebhookEndpointObject:
    """Changes the given fields. When an endpoint is enabled again, its pending events are sent."""
    if body.url is not None:
        _check_url(service, body.url)
    changes = EndpointChanges(
        url=body.url, event_types=body.event_types, name=body.name, enabled=body.enabled
    )
    return WebhookEndpointObject.of(
        await service.in_transaction(
            lambda connection: endpoints.change_endpoint(
                connection, organisation, webhook_endpoint_id, changes
            )
        )
    )


@router.delete("/v1/webhooks/{webhook_endpoint_id}", summary="Delete a webhook endpoint")
@router.delete("/v1/webhook_endpoints/{webhook_endpoint_id}", summary="Delete a webhook endpoint (OpenAI)")
async def delete(
    webhook_endpoint_id: str, service: ServiceDep, organisation: Organisation
) -> DeletedWebhookEndpoint:
    """Deletes the endpoint with its pending deliveries and its delivery log."""
    await service.in_transaction(
        lambda connection: endpoints.delete_endpoint(connection, organisation, webhook_endpoint_id)
    )
    return DeletedWebhookEndpoint(id=webhook_endpoint_id)


@router.post(
    "/v1/webhooks/{webhook_endpoint_id}/rotate_secret",
    summary="Rotate the secret of a webhook endpoint",
    responses=documented_errors(404, 409),
)
@router.post(
    "/v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret",
    summary="Rotate the secret of a webhook endpoint (OpenAI)",
    responses=documented_errors(404, 409),
)
async def rotate_secret(
    webhook_endpoint_id: str,
    service: ServiceDep,
    organisation: Organisation,
    body: RotateSecretRequest | None = None,
) -> WebhookEndpointWithSecretObject:
    """Gives the endpoint a new secret, and shows the secret. With `keep_old_secret_active_for_24_hours`, the
    previous secret stays valid for 24 hours.
    """
    keep, cipher = (body or RotateSecretRequest()).keep_old_secret_active_for_24_hours, _cipher(service)
    changed, secret = await service.in_transaction(
        lambda connection: endpoints.rotate_secret(
            connection, cipher, organisation, webhook_endpoint_id, keep_old=keep
        )
    )
    return WebhookEndpointWithSecretObject.showing(changed, secret)


@router.post(
    "/v1/webhooks/{webhook_endpoint_id}/test",
    summary="Send a test event to a webhook endpoint",
    responses=documented_errors(404, 409),
)
@router.post(
    "/v1/webhook_endpoints/{webhook_endpoint_id}/test",
    summary="Send a test event to a webhook endpoint (OpenAI)",
    responses=documented_errors(404, 409),
)
async def send_test(
    webhook_endpoint_id: str,
    service: ServiceDep,
    organisation: Organisation,
    body: SampleEventRequest | None = None,
) -> WebhookTestResult:
    """Sends one signed event with an invented id, waits for the answer, and shows the status of the answer.

    The event is sent once, also to a disabled endpoint, and is not in the delivery log.
    """
    cipher = _cipher(service)
    endpoint, keys = await service.read(
        lambda connection: (
            endpoints.get_endpoint(connection, organisation, webhook_endpoint_id),
            valid_secrets(connection, cipher, organisation, webhook_endpoint_id),
        )
    )
    type = (body and body.event_type) or endpoint.event_types[0]
    if type not in EVENT_TYPES:
        raise InvalidInput(
            f"there is no event type {type!r}; the types are {', '.join(EVENT_TYPES)}", param="event_type"
        )
    id = f"evt_test_{uuid4().hex}"
    payload = event_body(id, type, {"id": "test"}, created_at=datetime.now(UTC))
    timeout_s = service.settings.webhook_timeout_s
    result = await send(service.outbound, endpoint.url, id, payload, keys, timeout_s=timeout_s)
    if result.status is None:
        raise InvalidInput(f"webhook endpoint {endpoint.id} did not answer: {result.error}", param="url")
    return WebhookTestResult(webhook_endpoint_id=endpoint.id, event_type=type, status_code=result.status)


def _cipher(service: Service) -> SecretCipher:
    try:
        return open_cipher(service.settings.secret_key)
    except Misconfigured as exc:
        raise Conflict(
            "webhooks need the setting CLUSTER_SECRET_KEY, which encrypts their secrets. It is missing or "
            "wrong; ask the operator to set it"
        ) from exc


def _check_url(service: Service, url: str) -> None:
    if len(url) > MAX_URL_CHARACTERS:
        raise InvalidInput(
            f"url has {len(url):,} characters; it may have {MAX_URL_CHARACTERS:,}", param="url"
        )
    try:
        service.outbound.check(url)
    except Refused as exc:
        raise InvalidInput(f"url: {exc}", param="url") from exc
