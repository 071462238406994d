"""Figures of usage are sums of the events, whether roll-ups exist or not, with the price of each hour."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.analytics.rollups import compute_hours
from cluster.analytics.usage_figures import (
    DAY,
    HOUR,
    MINUTE,
    Dimension,
    UsageFigure,
    UsageQuestion,
    usage_figures,
)
from cluster.usage.events import UsageEvent, UsageSource, record_usage
from cluster.usage.prices import UsagePrice, set_price

#: All events are in these three days, so they have ended, and roll-ups of them can exist.
START = datetime(2026, 3, 28, tzinfo=UTC)
SPAN = timedelta(days=3)
CHANGE = START + timedelta(hours=30)
PRICES = {"embedding": (Decimal("0.00000002"), Decimal("0.00000003")), "page": (None, Decimal("0.001"))}
SEED = 20_261_128


@pytest.fixture
def events(connection: Connection[Any], organisation: str) -> list[UsageEvent]:
    """Events of many kinds, recorded in a random order, with prices that change after 30 hours."""
    for kind, (first, second) in PRICES.items():
        for price, start, end in ((first, START, CHANGE), (second, CHANGE, None)):
            if price is not None:
                set_price(
                    connection,
                    UsagePrice(
                        kind=kind, price=price, valid_from=start, valid_to=end, organisation=organisation
                    ),
                    operator="system",
                    retroactive=True,
                )
    chance = random.Random(SEED)
    made = [one_event(chance, organisation, number) for number in range(400)]
    record_usage(connection, made)
    return made


def one_event(chance: random.Random, organisation: str, number: int) -> UsageEvent:
    kind = chance.choice(["embedding", "page", "provider_embedding"])
    return UsageEvent(
        organisation=organisation,
        id=f"use_{number}",
        source=chance.choice([UsageSource.HTTP, UsageSource.JOB]),
        kind=kind,
        model=None if kind == "page" else chance.choice(["m", "n"]),
        quantity=chance.randrange(1, 1_000),
        cost=Decimal("0.000000000001") * chance.randrange(9) if kind == "provider_embedding" else None,
        key=chance.choice(["key_1", "key_2", None]),
        agent=chance.choice(["agent_1", None]),
        at=START + SPAN * chance.random(),
    )


def cost_of(event: UsageEvent) -> Decimal | None:
    assert event.at is not None
    price = PRICES.get(event.kind, (None, None))[event.at >= CHANGE]
    return event.cost if price is None else event.quantity * price


def expected(events: list[UsageEvent], question: UsageQuestion) -> list[UsageFigure]:
    """The same sums, computed one event after the other."""
    groups: dict[Any, list[UsageEvent]] = defaultdict(list)
    for event in events:
        assert event.at is not None
        filters = (
            (question.kinds, event.kind),
            (question.models, event.model),
            (question.sources, event.source),
            (question.keys, event.key),
            (question.agents, event.agent),
        )
        if question.start <= event.at < question.end and all(
            names is None or name in names for names, name in filters
        ):
            bucket = START + (event.at - START) // question.width * question.width
            dims = [getattr(event, one) if one in question.group_by else None for one in Dimension]
            groups[bucket, event.kind, *dims].append(event)
    figures = []
    for (start, kind, model, source, key, agent), some in groups.items():
        costs = [cost for event in some if (cost := cost_of(event)) is not None]
        figures.append(
            UsageFigure(
                start=start,
                kind=kind,
                model=model,
                source=source,
                key=key,
                agent=agent,
                quantity=sum(event.quantity for event in some),
                cost=sum(costs, Decimal(0)) if costs else None,
                events=len(some),
            )
        )
    return sorted(figures, key=str)


def questions(organisation: str) -> list[UsageQuestion]:
    common: dict[str, Any] = {"organisation": organisation, "start": START, "end": START + SPAN}
    every = frozenset(Dimension)
    return [
        UsageQuestion(**common, width=DAY),
        UsageQuestion(**common, width=HOUR, group_by=every - {Dimension.KEY}),
        UsageQuestion(**common, width=HOUR, group_by=every),
        UsageQuestion(**common, width=MINUTE, group_by=frozenset({Dimension.MODEL})),
        UsageQuestion(**common, width=DAY, models=["m"], sources=["http"], kinds=["embedding", "page"]),
        UsageQuestion(**common, width=DAY, agents=["agent_1"], group_by=frozenset({Dimension.SOURCE})),
        UsageQuestion(**common, width=DAY, keys=["key_2"]),
        UsageQuestion(**{**common, "start": START + DAY, "end": START + 2 * DAY}, width=HOUR),
    ]


def test_figures_are_the_sums_of_the_events_before_and_after_each_roll_up(
    connection: Connection[Any], pool: ConnectionPool, organisation: str, events: list[UsageEvent]
) -> None:
    def check() -> None:
        for question in questions(organisation):
            found = usage_figures(connection, question)
            assert [figure.start for figure in found] == sorted(figure.start for figure in found)
            assert sorted(found, key=str) == expected(events, question)

    check()
    compute_hours(pool, organisation)
    check()
    late = [one_event(random.Random(number), organisation, number) for number in (1_000, 1_001)]
    record_usage(connection, late)
    events += late
    check()
    compute_hours(pool, organisation)
    check()


def test_roll_ups_are_read_where_they_are_complete(
    connection: Connection[Any], pool: ConnectionPool, organisation: str, events: list[UsageEvent]
) -> None:
    compute_hours(pool, organisation)
    connection.execute("UPDATE usage_hourly SET quantity = 0 WHERE organisation = %s", [organisation])
    question = questions(organisation)[0]
    assert {figure.quantity for figure in usage_figures(connection, question)} == {0}
    other = UsageQuestion(organisation="nobody", start=START, end=START + SPAN, width=DAY)
    assert usage_figures(connection, other) == []
