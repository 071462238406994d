"""The JSON objects of the usage routes: pages of buckets, in the shapes of OpenAI's usage API."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Generic, Literal, Self, TypeVar

from pydantic import Field

from cluster.analytics.usage_figures import UsageFigure
from cluster.usage.events import UNITS
from serve_app.edge.response_model import ResponseModel
from serve_app.routes.usage.usage_parameters import BucketPage

R = TypeVar("R")


class UsageBucket(ResponseModel, Generic[R]):
    """The usage of one bucket."""

    object: Literal["bucket"] = Field(default="bucket", description="Always `bucket`.")
    start_time: int = Field(description="The beginning of the bucket, in seconds since 1970.")
    end_time: int = Field(description="The end of the bucket, in seconds since 1970.")
    results: list[R] = Field(description="The sums of the bucket, one for each group; empty without usage.")


class UsagePage(ResponseModel, Generic[R]):
    """One page of buckets."""

    object: Literal["page"] = Field(default="page", description="Always `page`.")
    data: list[UsageBucket[R]] = Field(description="All buckets, in the order of time.")
    has_more: bool = Field(description="True if more buckets follow.")
    next_page: str | None = Field(description="The `page` of the next request; null on the last page.")

    @classmethod
    def of(
        cls,
        page: BucketPage,
        figures: Iterable[UsageFigure],
        results: Callable[[list[UsageFigure]], list[R]],
    ) -> Self:
        """Put the figures into the buckets of the page.

        Args:
            results: turns the figures of one bucket into the results of the bucket.
        """
        by_bucket: dict[object, list[UsageFigure]] = {start: [] for start in page.starts}
        for figure in figures:
            by_bucket[figure.start].append(figure)
        return cls(
            data=[
                UsageBucket[R](
                    start_time=int(start.timestamp()),
                    end_time=int((start + page.width).timestamp()),
                    results=results(by_bucket[start]),
                )
                for start in page.starts
            ],
            has_more=page.has_more,
            next_page=page.next_page,
        )


class UsageResult(ResponseModel):
    """The usage of one kind."""

    object: Literal["usage.result"] = "usage.result"
    """Always `usage.result`."""
    kind: str
    """The kind of usage, such as `embedding`, `page` or `stored_bytes`."""
    unit: str
    """What `quantity` counts, such as `tokens`."""
    quantity: int
    """The sum of the usage."""
    cost: str | None
    """The cost in US dollars, as an exact decimal number; null if the usage has no price."""
    events: int
    """Number of the usage events in this sum."""
    model: str | None
    """With `group_by=model`, the name of the model; null for usage without a model."""
    source: str | None
    """With `group_by=source`, how the work was requested, such as `http` or `job`."""
    api_key_id: str | None
    """With `group_by=api_key_id`, the id of the API key; null for usage without a key."""
    agent_id: str | None
    """With `group_by=agent_id`, the id of the agent; null for usage without an agent."""

    @classmethod
    def of(cls, figure: UsageFigure) -> Self:
        """Convert the figure into the object that answers contain."""
        return cls(
            kind=figure.kind,
            unit=UNITS.get(figure.kind, "units"),
            quantity=figure.quantity,
            cost=None if figure.cost is None else exact(figure.cost),
            events=figure.events,
            model=figure.model,
            source=figure.source,
            api_key_id=figure.key,
            agent_id=figure.agent,
        )


class UsageResultPage(UsagePage[UsageResult]):
    """One page of usage."""


class EmbeddingsUsageResult(ResponseModel):
    """The tokens that embedding models read, and the requests to them."""

    object: Literal["organization.usage.embeddings.result"] = "organization.usage.embeddings.result"
    """Always `organization.usage.embeddings.result`."""
    input_tokens: int
    """Number of tokens that the models read for requests, searches, jobs, bulk ingests and batches."""
    num_model_requests: int
    """Number of requests to the models: over HTTP, searches, and requests of batches. A document that a job
    or a bulk ingest embeds is not a request.
    """
    project_id: None = None
    """Always null, because organisations have no projects."""
    user_id: None = None
    """Always null, because organisations have no users."""
    api_key_id: str | None
    """With `group_by=api_key_id`, the id of the API key; null for usage without a key."""
    model: str | None
    """With `group_by=model`, the name of the model."""


class EmbeddingsUsagePage(UsagePage[EmbeddingsUsageResult]):
    """One page of the usage of embedding models."""


class CostAmount(ResponseModel):
    """An amount of money."""

    value: float
    """The amount."""
    currency: Literal["usd"] = "usd"
    """Always `usd`."""


class CostsResult(ResponseModel):
    """The costs of usage."""

    object: Literal["organization.costs.result"] = "organization.costs.result"
    """Always `organization.costs.result`."""
    amount: CostAmount
    """The costs."""
    line_item: str | None
    """With `group_by=line_item`, the model and the kind of usage, such as `small, embedding`. Usage without a
    model has only the kind.
    """
    quantity: float | None
    """With `group_by=line_item`, the quantity of the usage."""
    quantity_unit: str | None
    """With `group_by=line_item`, what `quantity` counts, such as `tokens`."""
    api_key_id: str | None
    """With `group_by=api_key_id`, the id of the API key; null for costs without a key."""
    project_id: None = None
    """Always null, because organisations have no projects."""
    user_id: None = None
    """Always null, because organisations have no users."""
    api_source: Literal["unlabeled"] | None
    """With `group_by=api_source` always `unlabeled`; otherwise null."""


class CostsPage(UsagePage[CostsResult]):
    """One page of costs."""


def exact(amount: Decimal) -> str:
    """Return the amount as text, without an exponent and without zeros at the end of the decimals."""
    return f"{amount.normalize():f}"
