"""/v1/customers: add, list, get, change and erase customers."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Response
from psycopg import Connection

from cluster.platform_data.directory import add_customer, change_customer
from cluster.platform_data.erasure import erase_customer
from cluster.platform_data.rows import CUSTOMERS
from cluster.submissions import submit_erasure
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.platform_data.directory_requests import CustomerChangesRequest, NewCustomerRequest
from serve_app.routes.platform_data.platform_objects import CustomerList, CustomerObject, ErasedCustomer

router = json_router(404)


@router.get("/v1/customers", summary="List customers")
async def list_all(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    external_id: Annotated[str | None, Query(description="Only the customer with this id of yours")] = None,
) -> CustomerList:
    """Lists the customers that events have named, one page at a time."""
    found = await service.read(
        lambda connection: CUSTOMERS.page(connection, organisation, page, external_id=external_id)
    )
    return CustomerList.of(found, CustomerObject.of, lambda customer: customer.id)


@router.post(
    "/v1/customers",
    summary="Add a customer",
    response_model=CustomerObject,
    responses=documented_errors(404, 409),
)
async def create(body: NewCustomerRequest, organisation: Organisation, once: Once) -> Response:
    """Adds the customer. If a customer with this external id exists, sets the given fields."""
    return await once(
        lambda connection: CustomerObject.of(
            add_customer(connection, organisation, body.external_id, body.changes())
        )
    )


@router.patch(
    "/v1/customers/{customer_id}",
    summary="Change a customer",
    response_model=CustomerObject,
    responses=documented_errors(404, 409),
)
async def change(
    customer_id: str, body: CustomerChangesRequest, organisation: Organisation, once: Once
) -> Response:
    """Sets the given fields of the customer. A later event `customer.seen` replaces them."""
    return await once(
        lambda connection: CustomerObject.of(
            change_customer(connection, organisation, customer_id, body.changes())
        )
    )


@router.get("/v1/customers/{customer_id}", summary="Get a customer")
async def retrieve(customer_id: str, service: ServiceDep, organisation: Organisation) -> CustomerObject:
    """Shows the customer."""
    return CustomerObject.of(
        await service.read(lambda connection: CUSTOMERS.get(connection, organisation, customer_id))
    )


@router.delete(
    "/v1/customers/{customer_id}",
    summary="Erase a customer",
    responses={202: {"model": ErasedCustomer, "description": "A job erases the customer."}},
)
async def delete(
    customer_id: str, service: ServiceDep, organisation: Organisation, response: Response
) -> ErasedCustomer:
    """Deletes the customer with all conversations, messages and events, and counts the rows that are left.

    A customer with more than 10,000 rows or 100 conversations is deleted by a job, and the answer has the
    status 202. Events of such a customer are refused until the job ends. Events from before the erasure that
    arrive later are refused, too. The request may be sent again.
    """

    def work(connection: Connection[Any]) -> ErasedCustomer:
        erasure = erase_customer(connection, organisation, customer_id)
        job = None if erasure else submit_erasure(connection, organisation, customer_id).id
        return ErasedCustomer.of(customer_id, erasure, job)

    erased = await service.in_transaction(work)
    response.status_code = HTTPStatus.OK if erased.deleted else HTTPStatus.ACCEPTED
    return erased
