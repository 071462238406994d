"""GET /v1/customers/{id}/profile, and GET /v1/propensity_models."""

from cluster.profiles.profiles import get_profile
from cluster.profiles.propensity.models import latest_models
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.profiles.profile_objects import (
    CustomerProfileObject,
    PropensityModelList,
    PropensityModelObject,
)

router = json_router(404)


@router.get("/v1/customers/{customer_id}/profile", summary="Get the profile of a customer")
async def retrieve(
    customer_id: str, service: ServiceDep, organisation: Organisation
) -> CustomerProfileObject:
    """Shows the values of all parts, each with its number of cases and its evidence."""
    return CustomerProfileObject.of(
        await service.read(lambda connection: get_profile(connection, organisation, customer_id))
    )


@router.get("/v1/propensity_models", summary="List the trainings of the model of purchases")
async def list_models(service: ServiceDep, organisation: Organisation) -> PropensityModelList:
    """Lists the latest trainings, the newest first, with their validation or with what is missing."""
    found = await service.read(lambda connection: latest_models(connection, organisation))
    return PropensityModelList(data=[PropensityModelObject.of(training) for training in found])
