"""Sum the usage of an organisation for buckets of a minute, an hour or a day, with costs.

Hours that are rolled up are read from the roll-ups, and usage of all other times from the events. Roll-ups
have no keys, so questions about keys read only the events. The usage routes (``serve_app.routes.usage``) call
``usage_figures``:

    question = UsageQuestion(organisation="acme", start=monday, end=friday, width=DAY)
    for figure in usage_figures(connection, question):
        figure.start, figure.model, figure.quantity, figure.cost
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from cluster.database.queries import queries
from cluster.usage.prices import price_changes

SQL = queries("cluster.analytics", "usage_figures.sql")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Dimension(StrEnum):
    """A property of usage by which figures can be divided, besides the kind, which always divides them."""

    #: Name of the model.
    MODEL = "model"
    #: The way in which the work was requested (``events.UsageSource``).
    SOURCE = "source"
    #: Id of the API key.
    KEY = "key"
    #: Id of the platform's agent.
    AGENT = "agent"


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageQuestion:
    """Says which usage to sum, and how to divide the sums."""

    organisation: str
    #: The beginning of the first bucket.
    start: datetime
    #: The end of the last bucket.
    end: datetime
    #: Length of a bucket. Buckets begin at multiples of this length in UTC.
    width: timedelta
    group_by: frozenset[Dimension] = frozenset()
    #: The only kinds to sum; None: all kinds. The lists below choose in the same way.
    kinds: Sequence[str] | None = None
    models: Sequence[str] | None = None
    sources: Sequence[str] | None = None
    keys: Sequence[str] | None = None
    agents: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageFigure:
    """The usage of one kind in one bucket. A property by which the figures are not divided is None."""

    #: The beginning of the bucket.
    start: datetime
    kind: str
    model: str | None
    source: str | None
    key: str | None
    agent: str | None
    #: The sum, in the unit of the kind (``events.UNITS``).
    quantity: int
    #: The cost in US dollars; None if no part of the usage has a price.
    cost: Decimal | None
    #: Number of usage events.
    events: int


def usage_figures(connection: Connection[Any], question: UsageQuestion) -> list[UsageFigure]:
    """Return the figures of all buckets that have usage, in the order of the buckets."""
    about_keys = Dimension.KEY in question.group_by or question.keys is not None
    values = {
        "from_rollups": question.width >= HOUR and not about_keys,
        "organisation": question.organisation,
        "start": question.start,
        "end": question.end,
        "width": question.width,
        "changes": price_changes(connection, question.organisation, question.start, question.end),
        "kinds": _filter(question.kinds),
        "models": _filter(question.models),
        "sources": _filter(question.sources),
        "keys": _filter(question.keys),
        "agents": _filter(question.agents),
        **{f"by_{dimension}": dimension in question.group_by for dimension in Dimension},
    }
    with connection.cursor(row_factory=class_row(UsageFigure)) as cursor:
        # With a generic plan, a question about days could take minutes, so the statement is not prepared.
        return cursor.execute(SQL["sums"], values, prepare=False).fetchall()


def _filter(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
