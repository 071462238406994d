"""/v1/webhooks/{id}/deliveries: list the deliveries to a webhook endpoint, and send an event again."""

from fastapi import Response

from cluster.webhooks import deliveries
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.webhooks.webhook_objects import DeliveryList, DeliveryObject

router = json_router(404)


@router.get("/v1/webhooks/{webhook_endpoint_id}/deliveries", summary="List deliveries to a webhook endpoint")
async def list_all(
    webhook_endpoint_id: str, page: PageDep, service: ServiceDep, organisation: Organisation
) -> DeliveryList:
    """Lists pending deliveries, and deliveries that ended less than `CLUSTER_WEBHOOK_LOG_DAYS` days ago."""
    found = await service.read(
        lambda connection: deliveries.list_deliveries(connection, organisation, webhook_endpoint_id, page)
    )
    return DeliveryList.of(found, DeliveryObject.of, lambda delivery: delivery.event)


@router.post(
    "/v1/webhooks/{webhook_endpoint_id}/deliveries/{event_id}/redeliver",
    summary="Send an event again",
    response_model=DeliveryObject,
    responses=documented_errors(404, 409),
)
async def redeliver(
    webhook_endpoint_id: str, event_id: str, organisation: Organisation, once: Once
) -> Response:
    """Queues the event of a delivery to be sent again, with the same id. The number of attempts and the
    deadline start again.
    """
    return await once(
        lambda connection: DeliveryObject.of(
            deliveries.redeliver(connection, organisation, webhook_endpoint_id, event_id)
        )
    )
