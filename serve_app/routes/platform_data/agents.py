"""/v1/agents: add, list, get and change agents."""

from typing import Annotated

from fastapi import Query, Response

from cluster.platform_data.directory import add_agent, change_agent
from cluster.platform_data.rows import AGENTS
from serve_app.edge.authentication import Organisation
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.platform_data.directory_requests import AgentChangesRequest, NewAgentRequest
from serve_app.routes.platform_data.platform_objects import AgentList, AgentObject

router = json_router(404)


@router.get("/v1/agents", summary="List agents")
async def list_all(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    external_id: Annotated[str | None, Query(description="Only the agent with this id of yours")] = None,
) -> AgentList:
    """Lists the agents that events have named, one page at a time."""
    found = await service.read(
        lambda connection: AGENTS.page(connection, organisation, page, external_id=external_id)
    )
    return AgentList.of(found, AgentObject.of, lambda agent: agent.id)


@router.post("/v1/agents", summary="Add an agent", response_model=AgentObject)
async def create(body: NewAgentRequest, organisation: Organisation, once: Once) -> Response:
    """Adds the agent. If an agent with this external id exists, sets the given fields."""
    return await once(
        lambda connection: AgentObject.of(
            add_agent(connection, organisation, body.external_id, body.changes())
        )
    )


@router.patch("/v1/agents/{agent_id}", summary="Change an agent", response_model=AgentObject)
async def change(
    agent_id: str, body: AgentChangesRequest, organisation: Organisation, once: Once
) -> Response:
    """Sets the given fields of the agent."""
    return await once(
        lambda connection: AgentObject.of(change_agent(connection, organisation, agent_id, body.changes()))
    )


@router.get("/v1/agents/{agent_id}", summary="Get an agent")
async def retrieve(agent_id: str, service: ServiceDep, organisation: Organisation) -> AgentObject:
    """Shows the agent."""
    return AgentObject.of(
        await service.read(lambda connection: AGENTS.get(connection, organisation, agent_id))
    )
