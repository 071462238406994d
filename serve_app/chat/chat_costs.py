"""Compute the cost of usage events of chat models from the prices in ``CLUSTER_CHAT_MODELS``.

``Service`` calls ``with_chat_costs`` when it writes usage to the database.

    events = with_chat_costs(settings.chat_models, events)
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from cluster.settings.chat import ChatModelSetting
from cluster.usage.events import CHAT_INPUT, CHAT_OUTPUT, UsageEvent

MILLION = 1_000_000


def with_chat_costs(models: Mapping[str, ChatModelSetting], events: Iterable[UsageEvent]) -> list[UsageEvent]:
    """Return the events. An event of a chat model with a price for its tokens has its cost set."""
    return [
        event
        if (price := _price_per_million(models, event)) is None
        else replace(event, cost=event.quantity * price / MILLION)
        for event in events
    ]


def _price_per_million(models: Mapping[str, ChatModelSetting], event: UsageEvent) -> Decimal | None:
    setting = models.get(event.model or "")
    if setting is None or event.kind not in (CHAT_INPUT, CHAT_OUTPUT):
        return None
    price = (
        setting.price_per_million_input_tokens
        if event.kind == CHAT_INPUT
        else setting.price_per_million_output_tokens
    )
    return None if price is None else Decimal(str(price))
