"""GET /v1/organisation/audit_logs: list who changed the keys, schedules and settings of the caller's
organisation.
"""

from typing import Annotated, Any, Literal, Self

from fastapi import Query

from cluster.organisations.audit import AuditEvent, list_events
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.edge.service_access import ServiceDep

router = json_router()


class AuditActor(ResponseModel):
    """The caller that made a change."""

    type: str
    """`key`, `operator`, `keyless` (a request without a key), `command` or `cluster`."""
    id: str
    """Id of the key, or name of the operating system's user who ran a command; otherwise a fixed name."""
    ip_address: str | None
    """Address from which the request came; null if no request made the change."""
    request_id: str | None
    """Id of the request, as in the server's log; null if no request made the change."""


class AuditLogObject(ResponseModel):
    """One change."""

    object: Literal["organization.audit_log"] = "organization.audit_log"
    """Always `organization.audit_log`."""
    id: str
    """Id of the event."""
    type: str
    """The kind of change, such as `api_key.created`."""
    effective_at: int
    """When the change was made, in seconds since 1970."""
    target: str
    """Id of the thing that was changed."""
    actor: AuditActor
    """Who made the change."""
    details: dict[str, Any]
    """What was changed. This never contains a secret."""

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """Convert the event into the object that answers contain."""
        return cls(
            id=event.id,
            type=event.type,
            effective_at=int(event.at.timestamp()),
            target=event.target,
            actor=AuditActor(
                type=event.actor_kind, id=event.actor, ip_address=event.address, request_id=event.request
            ),
            details=dict(event.details),
        )


class AuditLogList(ListObject[AuditLogObject]):
    """One page of the audit log."""


@router.get("/v1/organisation/audit_logs", summary="List the audit log")
async def list_all(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    type: Annotated[str | None, Query(description="Only changes of this kind")] = None,
    actor: Annotated[str | None, Query(description="Only changes by the caller with this id")] = None,
    target: Annotated[str | None, Query(description="Only changes of the thing with this id")] = None,
) -> AuditLogList:
    """Lists the changes of the caller's organisation one page at a time, the newest first."""
    found = await service.read(
        lambda connection: list_events(connection, organisation, page, type=type, actor=actor, target=target)
    )
    return AuditLogList.of(found, AuditLogObject.of, lambda event: event.id)
