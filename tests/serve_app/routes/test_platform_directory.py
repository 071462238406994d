"""Agents and customers can be added and changed by requests, beside events."""

from typing import Any
from uuid import uuid4

import httpx
import pytest


def test_an_agent_is_added_once_and_changed(http: httpx.Client) -> None:
    external = uuid4().hex
    made = http.post("/v1/agents", json={"external_id": external, "model": "small"}).json()
    assert (made["external_id"], made["name"], made["model"]) == (external, external, "small")
    again = http.post("/v1/agents", json={"external_id": external, "name": "Helper"}).json()
    assert again == {**made, "name": "Helper"}
    path = f"/v1/agents/{made['id']}"
    assert http.patch(path, json={"name": None}).json() == made
    assert http.patch(path, json={"model": None}).json() == {**made, "model": None}
    event = {"id": external, "source": "/shop", "type": "request.completed", "time": "2026-03-01T10:00:00Z"}
    http.post("/v1/events", json=[{**event, "data": {"agent_id": external}}])
    assert http.get("/v1/agents", params={"external_id": external}).json()["data"] == [
        {**made, "model": None}
    ]
    assert http.patch("/v1/agents/agent_0", json={"name": "x"}).status_code == 404


def test_a_customer_is_added_and_changed_and_older_events_do_not_undo_it(http: httpx.Client) -> None:
    external = uuid4().hex
    seen = {"source": "/shop", "type": "customer.seen", "subject": external, "data": {"name": "Old"}}
    made = http.post("/v1/customers", json={"external_id": external, "name": "Grace"}).json()
    http.post("/v1/events", json=[{**seen, "id": f"{external} 1", "time": "2026-03-01T10:00:00Z"}])
    path = f"/v1/customers/{made['id']}"
    changed = http.patch(path, json={"email": "g@example.com", "properties": {"plan": "paid"}}).json()
    assert (changed["name"], changed["email"]) == ("Grace", "g@example.com")
    assert changed["properties"] == {"plan": "paid"}
    assert changed["first_seen_at"] == 1772359200  # of the event
    cleared = http.patch(path, json={"name": None, "properties": None}).json()
    assert (cleared["name"], cleared["email"], cleared["properties"]) == (None, "g@example.com", {})
    log = http.get("/v1/organisation/audit_logs", params={"limit": 100}).json()["data"]
    about = [(one["type"], one["details"]) for one in log if one["target"] == made["id"]]
    assert about == [
        ("customer.changed", {"fields": ["name", "properties"]}),
        ("customer.changed", {"fields": ["email", "properties"]}),
        ("customer.changed", {"fields": ["name"]}),
        ("customer.created", {}),
    ]
    assert http.patch("/v1/customers/cust_0", json={"name": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "external_id"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": "a", "name": "x" * 257}, "name"),
        ({"external_id": "a", "properties": {"a": ["\0"]}}, "properties"),
        ({"external_id": "a", "properties": {"a": "x" * 1_000_000}}, "properties"),
    ],
)
def test_a_wrong_customer_is_refused_with_the_field(
    http: httpx.Client, body: dict[str, Any], param: str
) -> None:
    answer = http.post("/v1/customers", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
