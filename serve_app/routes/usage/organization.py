"""GET /v1/organization/usage/embeddings and /v1/organization/costs: usage and costs in OpenAI's shapes.

``client.admin.organization.usage.embeddings(...)`` and ``.costs(...)`` of OpenAI's Python client call these
routes. Like OpenAI's, they need a key that administers the organisation.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Depends, Query

from cluster.analytics.usage_figures import DAY, Dimension, UsageFigure, UsageQuestion, usage_figures
from cluster.errors import InvalidInput
from cluster.usage.events import EMBEDDING, REQUEST, UNITS
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.usage.usage_objects import (
    CostAmount,
    CostsPage,
    CostsResult,
    EmbeddingsUsagePage,
    EmbeddingsUsageResult,
)
from serve_app.routes.usage.usage_parameters import (
    BucketPage,
    BucketPageDep,
    Cursor,
    EndTime,
    StartTime,
    bucket_page,
    names,
)

router = json_router()

#: The maximum and the default number of days on a page of costs.
MAX_COST_DAYS, COST_DAYS = 180, 7


def _nothing_else(name: str) -> Any:
    """Return the dependency that refuses a filter by something that this cluster does not have."""
    read = names(name, "Not supported, because organisations have no projects and no users").dependency

    async def refuse(given: Annotated[Any, Depends(read)]) -> None:
        if given:
            raise InvalidInput(
                f"{name} is given, but organisations have no projects and no users; leave it out", param=name
            )

    return Depends(refuse)


@router.get(
    "/v1/organization/usage/embeddings",
    summary="List usage of embeddings",
    dependencies=[_nothing_else("project_ids"), _nothing_else("user_ids")],
)
async def embeddings(
    page: BucketPageDep,
    service: ServiceDep,
    organisation: Organisation,
    group_by: Annotated[
        Any,
        names(
            "group_by",
            "Divide the sums by these properties",
            Literal["project_id", "user_id", "api_key_id", "model"],
        ),
    ],
    models: Annotated[Any, names("models", "Only usage of these models")],
    api_key_ids: Annotated[Any, names("api_key_ids", "Only usage of these API keys")],
) -> EmbeddingsUsagePage:
    """Sums the tokens that embedding models read, and the requests to these models."""
    groups = set(group_by or ())
    question = UsageQuestion(
        organisation=organisation,
        start=page.start,
        end=page.end,
        width=page.width,
        group_by=_dimensions(groups),
        kinds=(EMBEDDING, REQUEST),
        models=models,
        keys=api_key_ids,
    )
    figures = await service.read(lambda connection: usage_figures(connection, question))
    embedding_models = {figure.model for figure in figures if figure.kind == EMBEDDING}
    return EmbeddingsUsagePage.of(
        page,
        [figure for figure in figures if figure.model in embedding_models],
        lambda some: _embeddings_results(some, by_model="model" in groups),
    )


def _embeddings_results(figures: list[UsageFigure], *, by_model: bool) -> list[EmbeddingsUsageResult]:
    sums: dict[tuple[str | None, str | None], dict[str, int]] = defaultdict(
        lambda: {EMBEDDING: 0, REQUEST: 0}
    )
    for figure in figures:
        sums[figure.model if by_model else None, figure.key][figure.kind] += figure.quantity
    return [
        EmbeddingsUsageResult(
            input_tokens=quantities[EMBEDDING],
            num_model_requests=quantities[REQUEST],
            api_key_id=key,
            model=model,
        )
        for (model, key), quantities in sums.items()
    ]


async def _cost_page(
    start_time: StartTime,
    end_time: EndTime = None,
    bucket_width: Annotated[Literal["1d"], Query(description="Length of a bucket: a day in UTC")] = "1d",
    limit: Annotated[int, Query(ge=1, le=MAX_COST_DAYS, description="Maximum number of days")] = COST_DAYS,
    page: Cursor = None,
) -> BucketPage:
    del bucket_width
    return bucket_page(start_time=start_time, end_time=end_time, width=DAY, limit=limit, page=page)


@router.get(
    "/v1/organization/costs",
    summary="List costs",
    dependencies=[_nothing_else("project_ids"), _nothing_else("user_ids")],
)
async def costs(
    page: Annotated[BucketPage, Depends(_cost_page)],
    service: ServiceDep,
    organisation: Organisation,
    group_by: Annotated[
        Any,
        names(
            "group_by",
            "Divide the costs by these properties",
            Literal["project_id", "user_id", "line_item", "api_key_id", "api_source"],
        ),
    ],
    line_items: Annotated[Any, names("line_items", "Only costs of these line items")],
    api_key_ids: Annotated[Any, names("api_key_ids", "Only costs of these API keys")],
) -> CostsPage:
    """Sums the costs of all usage that has a price, in US dollars, for each day in UTC."""
    groups = set(group_by or ())
    question = UsageQuestion(
        organisation=organisation,
        start=page.start,
        end=page.end,
        width=page.width,
        group_by=_dimensions(groups),
        keys=api_key_ids,
    )
    figures = await service.read(lambda connection: usage_figures(connection, question))
    return CostsPage.of(
        page,
        [figure for figure in figures if line_items is None or _line_item(figure) in line_items],
        lambda some: _cost_results(some, groups),
    )


def _cost_results(figures: list[UsageFigure], groups: set[str]) -> list[CostsResult]:
    sums: dict[tuple[str | None, str | None, str | None], tuple[Decimal, int]] = {}
    by_item = "line_item" in groups
    for figure in figures:
        if figure.cost is None:
            continue
        group = (
            (_line_item(figure), UNITS.get(figure.kind), figure.key) if by_item else (None, None, figure.key)
        )
        cost, quantity = sums.get(group, (Decimal(0), 0))
        sums[group] = (cost + figure.cost, quantity + figure.quantity)
    return [
        CostsResult(
            amount=CostAmount(value=float(cost)),
            line_item=item,
            quantity=float(quantity) if by_item else None,
            quantity_unit=unit,
            api_key_id=key,
            api_source="unlabeled" if "api_source" in groups else None,
        )
        for (item, unit, key), (cost, quantity) in sums.items()
    ]


def _dimensions(groups: set[str]) -> frozenset[Dimension]:
    """Return the dimensions to ask for. The model is always one of them, because the kind alone does not tell
    embedding models from others.
    """
    return frozenset({Dimension.MODEL, *([Dimension.KEY] if "api_key_id" in groups else [])})


def _line_item(figure: UsageFigure) -> str:
    return f"{figure.model}, {figure.kind}" if figure.model else figure.kind
