"""GET /v1/usage: the usage of the caller's organisation, with every kind and every dimension.

The routes in ``organization.py`` have OpenAI's shapes, which know fewer kinds and dimensions.
"""

from typing import Annotated, Any, Literal

from cluster.analytics.usage_figures import Dimension, UsageQuestion, usage_figures
from cluster.usage.events import UNITS, UsageSource
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.usage.usage_objects import UsageResult, UsageResultPage
from serve_app.routes.usage.usage_parameters import BucketPageDep, names

router = json_router()

#: For each value of ``group_by``, the dimension.
DIMENSIONS = {
    "model": Dimension.MODEL,
    "source": Dimension.SOURCE,
    "api_key_id": Dimension.KEY,
    "agent_id": Dimension.AGENT,
}


@router.get("/v1/usage", summary="List usage")
async def list_usage(
    page: BucketPageDep,
    service: ServiceDep,
    organisation: Organisation,
    group_by: Annotated[
        Any,
        names(
            "group_by",
            "Divide the sums of each kind by these properties",
            Literal["model", "source", "api_key_id", "agent_id"],
        ),
    ],
    kinds: Annotated[Any, names("kinds", "Only these kinds of usage", Literal[tuple(UNITS)])],
    models: Annotated[Any, names("models", "Only usage of these models")],
    sources: Annotated[Any, names("sources", "Only usage from these sources", UsageSource)],
    api_key_ids: Annotated[Any, names("api_key_ids", "Only usage of these API keys")],
    agent_ids: Annotated[Any, names("agent_ids", "Only usage of these agents")],
) -> UsageResultPage:
    """Sums the usage of the organisation in buckets of a minute, an hour or a day in UTC, with the costs."""
    question = UsageQuestion(
        organisation=organisation,
        start=page.start,
        end=page.end,
        width=page.width,
        group_by=frozenset(DIMENSIONS[name] for name in group_by or ()),
        kinds=kinds,
        models=models,
        sources=sources,
        keys=api_key_ids,
        agents=agent_ids,
    )
    figures = await service.read(lambda connection: usage_figures(connection, question))
    return UsageResultPage.of(page, figures, lambda some: list(map(UsageResult.of, some)))
