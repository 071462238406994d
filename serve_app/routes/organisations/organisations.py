"""/v1/organisations: create, list, show, change and delete organisations.

Only the operator may use these routes.
"""

from typing import Annotated, Literal, Self

from pydantic import Field
from starlette.responses import Response

from cluster.documents.organisation_deletion import request_deletion
from cluster.organisations import rows
from cluster.organisations.rows import (
    LAST_BILLING_DAY,
    MAX_BIGINT,
    MAX_INTEGER,
    MAX_NAME_CHARACTERS,
    OrganisationOptions,
    OrganisationRow,
)
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import RequestModel, Text, Whole
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.edge.service_access import ServiceDep

router = json_router(404, 409)

Name = Annotated[Text, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
BillingDay = Annotated[Whole, Field(ge=1, le=LAST_BILLING_DAY)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=False)]
ConcurrencyLimit = Annotated[Whole, Field(ge=1, le=MAX_INTEGER)]
Limit = Annotated[Whole, Field(ge=0, le=MAX_BIGINT)]


class OrganisationChanges(RequestModel):
    """New values of an organisation. A field that is left out keeps its value. Null removes the value of
    `weight` or of a limit; the description of the field says what then applies.
    """

    NULL_CLEARS = frozenset({"weight", "concurrency_limit", *rows.LIMITS})

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False, because the organisation would have no limit if a misspelled limit were ignored."""
        del name
        return False

    name: Name | None = None
    """A name for people."""
    time_zone: Text | None = None
    """IANA name of the time zone in which the organisation's days begin, such as `Europe/Berlin`."""
    billing_day: BillingDay | None = None
    """Day of the month on which a billing period begins."""
    weight: Weight | None = None
    """Share of a model's time; null: the share in the setting `CLUSTER_ORGANISATION_WEIGHTS`, or 1."""
    concurrency_limit: ConcurrencyLimit | None = None
    """Maximum number of jobs of one priority class that run at the same time; null: no limit."""
    files_limit: Limit | None = None
    """Maximum number of files; 0: no limit; null: the setting `CLUSTER_ORGANISATION_FILES`."""
    bytes_limit: Limit | None = None
    """Maximum number of bytes of files; 0: no limit; null: the setting `CLUSTER_ORGANISATION_BYTES`."""
    requests_per_minute: Limit | None = None
    """Maximum number of requests in a minute; 0: no limit; null: the setting
    `CLUSTER_ORGANISATION_REQUESTS_PER_MINUTE`."""
    tokens_per_minute: Limit | None = None
    """Maximum number of tokens that models read for requests in a minute; 0: no limit; null: the setting
    `CLUSTER_ORGANISATION_TOKENS_PER_MINUTE`."""
    jobs_limit: Limit | None = None
    """Maximum number of unfinished jobs; 0 or null: no limit."""
    vectors_limit: Limit | None = None
    """Maximum number of stored vectors; 0 or null: no limit."""


class NewOrganisationRequest(OrganisationChanges):
    """A new organisation."""

    id: Annotated[Text, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    """Id of the organisation: 1 to 64 letters, digits, hyphens and underscores. It never changes."""


class OrganisationObject(ResponseModel):
    """An organisation."""

    object: Literal["organization"] = "organization"
    """Always `organization`."""
    id: str
    """Id of the organisation."""
    name: str
    """A name for people."""
    time_zone: str
    """IANA name of the time zone in which the organisation's days begin."""
    billing_day: int
    """Day of the month on which a billing period begins."""
    weight: float | None
    """Share of a model's time; null: the share in the setting `CLUSTER_ORGANISATION_WEIGHTS`, or 1."""
    concurrency_limit: int | None
    """Maximum number of jobs of one priority class that run at the same time; null: no limit."""
    files_limit: int | None
    """Maximum number of files; 0: no limit; null: the setting `CLUSTER_ORGANISATION_FILES`."""
    bytes_limit: int | None
    """Maximum number of bytes of files; 0: no limit; null: the setting `CLUSTER_ORGANISATION_BYTES`."""
    requests_per_minute: int | None
    """Maximum number of requests in a minute; 0: no limit; null: the setting
    `CLUSTER_ORGANISATION_REQUESTS_PER_MINUTE`."""
    tokens_per_minute: int | None
    """Maximum number of tokens that models read for requests in a minute; 0: no limit; null: the setting
    `CLUSTER_ORGANISATION_TOKENS_PER_MINUTE`."""
    jobs_limit: int | None
    """Maximum number of unfinished jobs; 0 or null: no limit."""
    vectors_limit: int | None
    """Maximum number of stored vectors; 0 or null: no limit."""
    created_at: int
    """When the organisation was created, in seconds since 1970."""
    deleted_at: int | None
    """Time at which the deletion was requested, in seconds since 1970; null if no deletion was requested."""
    deletion_job: str | None
    """Id of the job that deletes what the organisation owns. The job belongs to the organisation `system`."""

    @classmethod
    def of(cls, row: OrganisationRow) -> Self:
        """Convert the organisation into the object that answers contain."""
        return cls(
            id=row.id,
            name=row.name,
            time_zone=row.time_zone,
            billing_day=row.billing_day,
            weight=row.weight,
            concurrency_limit=row.concurrency_limit,
            files_limit=row.files_limit,
            bytes_limit=row.bytes_limit,
            requests_per_minute=row.requests_per_minute,
            tokens_per_minute=row.tokens_per_minute,
            jobs_limit=row.jobs_limit,
            vectors_limit=row.vectors_limit,
            created_at=int(row.created_at.timestamp()),
            deleted_at=None if row.deleted_at is None else int(row.deleted_at.timestamp()),
            deletion_job=row.deletion_job,
        )


class OrganisationList(ListObject[OrganisationObject]):
    """One page of the organisations."""


class DeletedOrganisation(ResponseModel):
    """An organisation whose deletion has begun."""

    object: Literal["organization.deleted"] = "organization.deleted"
    """Always `organization.deleted`."""
    id: str
    """Id of the organisation."""
    deleted: Literal[True] = True
    """Always true: requests of the organisation are refused from now on."""
    job_id: str
    """Id of the job that deletes what the organisation owns. The job belongs to the organisation `system`."""


@router.post("/v1/organisations", summary="Create an organisation", response_model=OrganisationObject)
async def create(body: NewOrganisationRequest, once: Once) -> Response:
    """Creates an organisation. Without a name, the id is the name; other fields have default values."""
    options = OrganisationOptions(
        **{name: value for name, value in body.model_dump(exclude={"id"}).items() if value is not None}
    )
    return await once(
        lambda connection: OrganisationObject.of(rows.create_organisation(connection, body.id, options))
    )


@router.get("/v1/organisations", summary="List organisations")
async def list_all(page: PageDep, service: ServiceDep) -> OrganisationList:
    """Lists all organisations one page at a time, deleted organisations included."""
    found = await service.read(lambda connection: rows.list_organisations(connection, page))
    return OrganisationList.of(found, OrganisationObject.of, lambda row: row.id)


@router.get("/v1/organisations/{organisation_id}", summary="Get an organisation")
async def get(organisation_id: str, service: ServiceDep) -> OrganisationObject:
    """Returns the organisation with this id, even if it is deleted."""
    return OrganisationObject.of(
        await service.read(lambda connection: rows.get_organisation(connection, organisation_id))
    )


@router.post(
    "/v1/organisations/{organisation_id}", summary="Change an organisation", response_model=OrganisationObject
)
async def change(organisation_id: str, body: OrganisationChanges, once: Once) -> Response:
    """Changes the given fields; fields that are left out keep their values."""
    changes = body.model_dump(exclude_unset=True)
    return await once(
        lambda connection: OrganisationObject.of(
            rows.change_organisation(connection, organisation_id, changes)
        )
    )


@router.delete("/v1/organisations/{organisation_id}", summary="Delete an organisation")
async def delete(organisation_id: str, service: ServiceDep) -> DeletedOrganisation:
    """Refuses all requests of the organisation from now on, and queues a job that deletes what it owns.

    The usage is kept, because bills need the usage. The audit log is kept, too.
    """
    job = await service.in_transaction(
        lambda connection: request_deletion(
            connection, organisation_id, default=service.settings.organisation
        )
    )
    return DeletedOrganisation(id=organisation_id, job_id=job.id)
