"""Events deep inside libraries are counted, and their increases become metrics."""

from typing import Any

import pytest

from cluster.alerts.event_metrics import EVENTS, EventPublisher
from cluster.engines.openai.errors import refusal
from cluster.errors import Throttled
from cluster.event_counts import THROTTLED_CALLS
from cluster.outbound import OutboundClient, Refused
from cluster.outbound.errors import REFUSED_REQUESTS
from cluster.settings import Settings


class KeptCounter:
    """Keeps what Ray would get."""

    def __init__(self) -> None:
        self.recorded: list[tuple[float, dict[str, str]]] = []

    def _record(self, amount: float, tags: dict[str, str]) -> None:
        self.recorded.append((amount, tags))


def test_each_series_begins_with_its_count_and_gets_only_increases() -> None:
    made = dict[str, KeptCounter]()

    def make(name: str, description: str, tag_keys: tuple[str, ...]) -> KeptCounter:
        assert (description, len(tag_keys)) == (description or None, 1)
        made[name] = KeptCounter()
        return made[name]

    publisher = EventPublisher(make)
    assert set(made) == {f"embedding_{event.name}" for event in EVENTS}
    before = REFUSED_REQUESTS.read()["address"]
    publisher.publish()
    with pytest.raises(Refused):
        OutboundClient(Settings()).get("http://127.0.0.2/", max_bytes=1, deadline_s=5)
    publisher.publish()
    refusals = made["embedding_outbound_refusals"].recorded
    assert [amount for amount, tags in refusals if tags == {"reason": "address"}] == [before, 1]
    assert {"reason": "redirects"} in [tags for _, tags in refusals]


def test_a_call_that_a_provider_throttles_is_counted() -> None:
    class Access:
        provider, secrets = "simulated", ()

    account: Any = Access()
    before = THROTTLED_CALLS.read()["simulated"]
    assert isinstance(refusal(429, {"message": "slow down"}, account, headers={}), Throttled)
    refusal(500, {"message": "broken"}, account, headers={})
    assert THROTTLED_CALLS.read()["simulated"] == before + 1
