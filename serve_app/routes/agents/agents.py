"""/v1/agents: add, list, get, change and delete agents, and the JSON Schema of files of agents."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Query, Response
from psycopg import Connection

from cluster.agents.agents import stores_of
from cluster.agents.changing import ChangedAgent, KnowledgeChange, add_agent, change_agent, delete_agent
from cluster.agents.files.file_schema import agent_file_schema
from cluster.agents.knowledge import NewStores
from cluster.organisations.organisations import StorageLimits
from cluster.platform_data.rows import AGENTS
from cluster.vector_index.collections import collection_name
from serve_app.edge.authentication import Organisation
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.response_model import json_response
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.agents.agent_objects import AgentList, AgentObject, DeletedAgent
from serve_app.routes.agents.agent_requests import AgentChangesRequest, NewAgentRequest
from serve_app.routes.stored_files import delete_unused_blobs
from serve_app.service import Service

router = json_router(404)


@router.get("/v1/agents", summary="List agents")
async def list_all(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    external_id: Annotated[str | None, Query(description="Only the agent with this id of yours")] = None,
) -> AgentList:
    """Lists the agents that requests have defined or that events have named, one page at a time."""

    def read(connection: Connection[Any]) -> AgentList:
        found = AGENTS.page(connection, organisation, page, external_id=external_id)
        stores = stores_of(connection, organisation, [agent.id for agent in found.items])
        return AgentList.of(
            found, lambda agent: AgentObject.of(agent, stores.get(agent.id, ())), lambda agent: agent.id
        )

    return await service.read(read)


@router.get(
    "/v1/agents/schema",
    summary="Get the JSON Schema of agents",
    responses={200: {"content": {"application/schema+json": {"schema": {"type": "object"}}}}},
    response_class=Response,
)
async def schema(organisation: Organisation) -> Response:
    """Shows the JSON Schema (2020-12) of a file of agents. `$defs.AgentDefinition` is the schema of one
    agent."""
    del organisation
    response = json_response(agent_file_schema())
    response.headers["content-type"] = "application/schema+json"
    return response


@router.post("/v1/agents", summary="Add an agent", response_model=AgentObject)
async def create(
    body: NewAgentRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Adds the agent. If an agent with this external id exists, sets the given fields.

    The files and texts of `knowledge` are indexed after the answer. Content that another agent knows already
    is not stored or embedded again.
    """
    how = await _how(service, with_knowledge=body.knowledge is not None)
    return await _changed(
        service,
        organisation,
        once,
        lambda connection: add_agent(connection, organisation, body.external_id, body.changes(), how),
    )


@router.patch("/v1/agents/{agent_id}", summary="Change an agent", response_model=AgentObject)
async def change(
    agent_id: str, body: AgentChangesRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Sets the given fields of the agent."""
    how = await _how(service, with_knowledge=body.knowledge is not None)
    return await _changed(
        service,
        organisation,
        once,
        lambda connection: change_agent(connection, organisation, agent_id, body.changes(), how),
    )


@router.get("/v1/agents/{agent_id}", summary="Get an agent")
async def retrieve(agent_id: str, service: ServiceDep, organisation: Organisation) -> AgentObject:
    """Shows the agent."""
    return await service.read(lambda connection: _object(connection, organisation, agent_id))


@router.delete("/v1/agents/{agent_id}", summary="Delete an agent")
async def delete(agent_id: str, service: ServiceDep, organisation: Organisation) -> DeletedAgent:
    """Deletes the agent's definition and what only this agent knew. Its conversations and its statistics
    stay."""
    hashes = await service.in_transaction(lambda connection: delete_agent(connection, organisation, agent_id))
    await delete_unused_blobs(service, organisation, hashes)
    return DeletedAgent(id=agent_id)


async def _how(service: Service, *, with_knowledge: bool) -> KnowledgeChange:
    """Return what a change of an agent's knowledge needs."""
    models = service.models
    fingerprint = models.named(models.default.name).engine.fingerprint
    index = service.settings.vector_index
    if with_knowledge:
        await service.in_database(
            lambda _, indexes: indexes.chosen(index).ensure(collection_name(fingerprint), dim=fingerprint.dim)
        )
    settings = service.settings
    return KnowledgeChange(
        blobs=service.blobs,
        new_stores=NewStores(fingerprint=fingerprint, index=index),
        default_limits=StorageLimits.of(settings),
        max_bytes=settings.max_document_bytes,
        attempts=settings.job_attempts,
    )


async def _changed(
    service: Service, organisation: str, once: Once, work: Callable[[Connection[Any]], ChangedAgent]
) -> Response:
    """Run the change once, delete the blobs that nothing names any more, and answer with the agent."""
    released: list[str] = []

    def do(connection: Connection[Any]) -> AgentObject:
        changed = work(connection)
        released[:] = changed.released
        return _object(connection, organisation, changed.agent.id)

    response = await once(do)
    if released:
        await delete_unused_blobs(service, organisation, released)
    return response


def _object(connection: Connection[Any], organisation: str, id: str) -> AgentObject:
    agent = AGENTS.get(connection, organisation, id)
    stores: Mapping[str, list[str]] = stores_of(connection, organisation, [id])
    return AgentObject.of(agent, stores.get(id, ()))
