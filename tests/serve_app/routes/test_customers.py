"""A customer can be looked up with conversations and messages, and be erased for good."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cluster.platform_data.erasure import TABLES, erase_customer

ROWS = dict.fromkeys(TABLES, 0) | {"messages": 2, "customer_events": 4, "conversations": 1, "customers": 1}


def story(customer: str) -> list[dict[str, Any]]:
    """A customer with one conversation and two messages. The last event does not name the customer."""
    of_conversation = {"conversation_id": f"talk of {customer}", "agent_id": "bot"}
    details: list[tuple[str, Mapping[str, Any]]] = [
        ("customer.seen", {"name": "Grace", "properties": {"plan": "free"}}),
        ("message.created", {**of_conversation, "role": "user", "text": "Where is my parcel?"}),
        ("message.created", {**of_conversation, "role": "assistant", "text": "On its way", "cost": "0.0021"}),
        ("conversation.ended", of_conversation),
    ]
    return [
        {
            "id": uuid4().hex,
            "source": "/shop",
            "type": type,
            "time": f"2026-03-01T10:0{minute}:00Z",
            "data": data,
        }
        | ({"subject": customer} if minute < 3 else {})
        for minute, (type, data) in enumerate(details)
    ]


def only(http: httpx.Client, path: str, **parameters: str) -> dict[str, Any]:
    """The only item of the list."""
    (item,) = http.get(path, params=parameters).json()["data"]
    return dict(item)


def test_a_customer_is_found_with_conversations_and_messages(http: httpx.Client) -> None:
    external = uuid4().hex
    assert http.post("/v1/events", json=story(external)).json()["accepted"] == 4
    customer = only(http, "/v1/customers", external_id=external)
    assert (customer["name"], customer["properties"]) == ("Grace", {"plan": "free"})
    assert http.get(f"/v1/customers/{customer['id']}").json() == customer
    conversation = only(http, "/v1/conversations", customer=customer["id"])
    assert http.get(f"/v1/conversations/{conversation['id']}").json() == conversation
    agent = http.get(f"/v1/agents/{conversation['agent']}").json()
    assert only(http, "/v1/agents", external_id="bot") == agent
    path = f"/v1/conversations/{conversation['id']}/messages"
    first = http.get(path, params={"order": "asc", "limit": "1"}).json()
    second = http.get(path, params={"order": "asc", "after": first["last_id"]}).json()
    assert [first["has_more"], second["has_more"]] == [True, False]
    texts = [(one["role"], one["text"], one["cost"]) for one in first["data"] + second["data"]]
    assert texts == [("user", "Where is my parcel?", "0"), ("assistant", "On its way", "0.0021")]
    assert http.get("/v1/customers/cust_0").status_code == 404
    assert http.get("/v1/conversations/conv_0/messages").status_code == 404


def test_an_erased_customer_leaves_nothing_and_late_events_bring_nothing_back(http: httpx.Client) -> None:
    external, other = uuid4().hex, uuid4().hex
    events = story(external)
    for one in (events, story(other)):
        assert http.post("/v1/events", json=one).json()["accepted"] == 4
    id = only(http, "/v1/customers", external_id=external)["id"]
    erased = http.delete(f"/v1/customers/{id}").json()
    assert erased["deleted_rows"] == ROWS
    assert erased["remaining_rows"] == dict.fromkeys(ROWS, 0)
    again = http.delete(f"/v1/customers/{id}").json()
    assert again["deleted_rows"] == again["remaining_rows"] == dict.fromkeys(ROWS, 0)
    assert http.get(f"/v1/customers/{id}").status_code == 404
    late = http.post("/v1/events", json=events).json()
    assert (late["accepted"], [error["index"] for error in late["errors"]]) == (0, [0, 1, 2, 3])
    assert only(http, "/v1/customers", external_id=other)["name"] == "Grace"
    assert http.delete("/v1/customers/cust_0").status_code == 404


def test_a_customer_who_comes_back_after_an_erasure_is_a_new_customer(http: httpx.Client) -> None:
    external = uuid4().hex
    http.post("/v1/events", json=story(external))
    id = only(http, "/v1/customers", external_id=external)["id"]
    http.delete(f"/v1/customers/{id}")
    returned = story(external)[0] | {"time": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    assert http.post("/v1/events", json=[returned]).json()["accepted"] == 1
    assert only(http, "/v1/customers", external_id=external)["name"] == "Grace"
    assert http.delete(f"/v1/customers/{id}").json()["deleted_rows"]["customers"] == 1


def test_a_customer_with_many_rows_is_erased_by_one_job(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    external = uuid4().hex
    http.post("/v1/events", json=story(external))
    id = only(http, "/v1/customers", external_id=external)["id"]
    few = partial(erase_customer, max_rows=sum(ROWS.values()) - 1)
    monkeypatch.setattr("serve_app.routes.platform_data.customers.erase_customer", few)
    first, second = http.delete(f"/v1/customers/{id}"), http.delete(f"/v1/customers/{id}")
    assert (first.status_code, second.status_code) == (202, 202)
    job = http.get(f"/v1/jobs/{first.json()['job']}").json()
    assert (job["kind"], job["subject"]) == ("erase_customer", id)
    assert (
        first.json()
        == second.json()
        == {
            "id": id,
            "object": "customer.deleted",
            "deleted": False,
            "deleted_rows": {},
            "remaining_rows": {},
            "job": job["id"],
        }
    )
    assert http.get(f"/v1/customers/{id}").json()["name"] is None
