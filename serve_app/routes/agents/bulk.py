"""/v1/agents/bulk: create many agents with one request, and see how far an import is."""

from http import HTTPStatus
from typing import Any

from fastapi import Response
from psycopg import Connection

from cluster.agents.contents import Contents
from cluster.agents.files.agent_rows import MAX_FILE_BYTES, AgentFault, AgentRows, Located
from cluster.agents.files.reading import CheckedAgents, check, read_agents
from cluster.agents.imports import submit_import, summary
from cluster.agents.preparing import missing_references, prepare
from cluster.documents.files import get_file
from cluster.errors import InvalidInput, NotFound
from cluster.jobs.jobs import get_job
from cluster.jobs.kinds import CREATE_AGENTS
from cluster.organisations.organisations import StorageLimits
from serve_app.edge.authentication import Organisation
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.agents.agent_objects import AgentImportObject
from serve_app.routes.agents.agent_requests import BulkAgentsRequest
from serve_app.service import Service

#: Maximum number of errors that the message of a refused request contains.
ERRORS_SHOWN = 20
COUNTS = (
    *("created", "updated", "unchanged", "failed"),
    *("files", "files_completed", "files_failed", "tokens_embedded"),
)

router = json_router(404)


@router.post(
    "/v1/agents/bulk",
    summary="Create agents",
    response_model=AgentImportObject,
    responses={202: {"model": AgentImportObject, "description": "A job creates the agents."}},
)
async def create(
    body: BulkAgentsRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Checks all agents, and submits a job that creates them. If anything is wrong, nothing is created, and
    the error names what is wrong. With `validate_only`, the answer lists every error instead.

    An agent whose definition and contents are as the request says is unchanged, so send a request again if
    you got no answer.
    """

    def work(connection: Connection[Any]) -> AgentImportObject:
        contents = Contents(
            service.blobs, organisation, open_file=None, max_bytes=service.settings.max_document_bytes
        )
        checked = check(_rows(connection, service, organisation, body))
        missing = missing_references(connection, organisation, checked, contents)
        faults = sorted([*checked.faults, *missing], key=lambda fault: (fault.row or 0, fault.line or 0))
        counts = {"agents": len(checked.agents), **dict.fromkeys(COUNTS, 0), "failures": []}
        if body.validate_only:
            return AgentImportObject.of(None, counts, faults)
        if faults:
            raise InvalidInput(_message(faults), param="agents" if body.file_id is None else "file_id")
        return _submitted(connection, service, organisation, checked, contents, body)

    response = await once(work)
    if not body.validate_only:
        response.status_code = HTTPStatus.ACCEPTED
    return response


@router.get("/v1/agents/bulk/{job_id}", summary="Get an import of agents")
async def retrieve(job_id: str, service: ServiceDep, organisation: Organisation) -> AgentImportObject:
    """Shows how many agents and files of an import are done. `GET /v1/jobs/{job_id}` shows its state."""

    def read(connection: Connection[Any]) -> AgentImportObject:
        job = get_job(connection, organisation, job_id)
        if job.kind != CREATE_AGENTS.name:
            raise NotFound(f"job {job_id!r} creates no agents")
        return AgentImportObject.of(job.id, summary(connection, organisation, job.id))

    return await service.read(read)


def _submitted(
    connection: Connection[Any],
    service: Service,
    organisation: str,
    checked: CheckedAgents,
    contents: Contents,
    body: BulkAgentsRequest,
) -> AgentImportObject:
    job = submit_import(
        connection,
        service.blobs,
        organisation,
        prepare(checked, contents),
        mode=body.mode,
        default_limits=StorageLimits.of(service.settings),
    )
    return AgentImportObject.of(job.id, summary(connection, organisation, job.id))


def _rows(
    connection: Connection[Any], service: Service, organisation: str, body: BulkAgentsRequest
) -> AgentRows:
    """Return the agents of the request, or of its file."""
    if body.file_id is None:
        agents = [Located(value=agent) for agent in body.agents or ()]
        return AgentRows(agents=agents, defaults=Located(value=body.defaults or {}))
    file = get_file(connection, organisation, body.file_id)
    if file.bytes > MAX_FILE_BYTES:
        raise InvalidInput(
            f"file {file.id} has {file.bytes:,} bytes; the limit is {MAX_FILE_BYTES:,}", param="file_id"
        )
    return read_agents(service.blobs.read(organisation, file.sha256), name=file.filename)


def _message(faults: list[AgentFault]) -> str:
    shown = "; ".join(str(fault) for fault in faults[:ERRORS_SHOWN])
    more = len(faults) - ERRORS_SHOWN
    rest = f"; and {more:,} more: validate_only lists all" if more > 0 else ""
    return f"nothing was created, because of {len(faults):,} errors: {shown}{rest}"
