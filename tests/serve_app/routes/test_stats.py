"""Statistics are roll-ups and the current hour. An answer that did not change has no body."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg_pool import ConnectionPool

from cluster.analytics.definitions import RATES
from cluster.analytics.rollups import compute_hours
from cluster.settings import Settings
from tests.waiting import LONGEST_WAIT_S


def message(agent: str, time: datetime, role: str, **data: Any) -> dict[str, Any]:
    """An event with a message of the agent's only conversation."""
    named = {"agent_id": agent, "conversation_id": agent, "role": role, **data}
    event = {"id": uuid4().hex, "source": "/stats", "type": "message.created", "subject": agent}
    return {**event, "time": time.isoformat(), "data": named}


def test_an_agent_has_hours_a_live_tail_and_a_tag(
    http: httpx.Client, pool: ConnectionPool, settings: Settings
) -> None:
    agent, now = uuid4().hex, datetime.now(UTC)
    past = now - timedelta(hours=3)
    answer = {"latency_ms": 250, "input_tokens": 7, "cost": "0.000000000001", "retrieval_hit": True}
    asked = message(agent, past, "user")
    answered = message(agent, past + timedelta(milliseconds=1), "assistant", **answer)
    assert http.post("/v1/events", json=[asked, answered]).json()["accepted"] == 2
    compute_hours(pool, settings.organisation)
    assert http.post("/v1/events", json=[message(agent, now, "user")]).json()["accepted"] == 1
    (row,) = http.get("/v1/agents", params={"external_id": agent}).json()["data"]
    path, hourly = f"/v1/agents/{row['id']}/stats", {"bucket_width": "1h"}
    shown = http.get(path, params=hourly)
    stats = shown.json()
    rolled, live = stats["data"][0], stats["live"]
    assert (rolled["measures"]["messages"], live["measures"]["messages"]) == (2, 1)
    assert (rolled["measures"]["latency_p95_ms"], rolled["measures"]["cost"]) == (250, "0.000000000001")
    assert rolled["start_time"] <= past.timestamp() < rolled["end_time"] <= stats["complete_through"]
    assert stats["complete_through"] == live["start_time"]
    assert (stats["total"]["messages"], stats["total"]["customers"]) == (3, None)
    assert (stats["rates"]["containment"], stats["rates"]["csat"], stats["rates"]["average_turns"]) == (
        1,
        None,
        1,
    )
    assert stats["computed_at"] >= now.timestamp() - 1
    again = http.get(path, params=hourly, headers={"If-None-Match": shown.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.post("/v1/events", json=[message(agent, now, "user")]).json()["accepted"] == 1
    changed = http.get(path, params=hourly, headers={"If-None-Match": shown.headers["ETag"]})
    assert changed.json()["live"]["measures"]["messages"] == 2


def test_the_organisation_has_days_and_counts_of_its_files(
    http: httpx.Client, pool: ConnectionPool, settings: Settings
) -> None:
    compute_hours(pool, settings.organisation)
    stats = http.get("/v1/stats").json()
    assert stats["agent"] is None
    assert stats["system"]["computed_at"] == pytest.approx(stats["computed_at"], abs=LONGEST_WAIT_S)
    assert stats["system"]["jobs"].keys() <= {"queued", "running", "succeeded", "failed", "cancelled"}
    assert http.get("/v1/stats/definitions").json()["rates"].keys() == RATES.keys()


def test_a_wrong_period_is_refused(http: httpx.Client) -> None:
    for parameters, message in (
        ({"start_time": "2026-03-02T00:00:00Z", "end_time": "2026-03-01T00:00:00Z"}, "before end_time"),
        ({"start_time": "2020-01-01T00:00:00Z", "bucket_width": "1h"}, "1,000 buckets"),
        ({"start_time": "0001-01-01T00:00:00Z", "end_time": "0001-01-02T00:00:00Z"}, "years"),
        ({"bucket_width": "1w"}, "bucket_width"),
    ):
        refused = http.get("/v1/stats", params=parameters)
        assert refused.status_code == 400
        assert message in refused.json()["error"]["message"]
    assert http.get("/v1/agents/agent_0/stats").status_code == 404
