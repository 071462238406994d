"""Feedback on answers is kept with the message, is counted by analytics, and goes with an erased customer."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.analytics.rollups import compute_hours


def conversation(http: httpx.Client, *texts: tuple[str, str]) -> tuple[str, list[dict[str, Any]]]:
    """Send a conversation of a new customer; return the id of the customer and the messages, in order."""
    external = uuid4().hex
    events = [
        {
            "id": f"{external} {minute}",
            "source": "/shop",
            "type": "message.created",
            "time": f"2026-03-01T10:{minute:02}:00Z",
            "subject": external,
            "data": {"conversation_id": external, "agent_id": external, "role": role, "text": text},
        }
        for minute, (role, text) in enumerate(texts)
    ]
    assert http.post("/v1/events", json=events).json()["accepted"] == len(texts)
    by_external_id = {"params": {"external_id": external}}
    (found,) = http.get("/v1/conversations", **by_external_id).json()["data"]  # type: ignore[arg-type]
    path = f"/v1/conversations/{found['id']}/messages"
    return found["customer"], http.get(path, params={"order": "asc"}).json()["data"]


def test_the_latest_feedback_counts_and_names_its_question(http: httpx.Client) -> None:
    _, messages = conversation(
        http, ("user", "Where?"), ("user", "Where is it?"), ("assistant", "In Oslo."), ("user", "No!")
    )
    answer = messages[2]
    path = f"/v1/messages/{answer['id']}/feedback"
    assert http.post(path, json={"rating": "positive"}).json()["feedback"] == "positive"
    given = http.post(path, json={"rating": "negative", "comment": "Not in Oslo."}).json()
    assert given == {**answer, "feedback": "negative", "feedback_comment": "Not in Oslo."}
    listed = http.get("/v1/feedback", params={"agent": answer["agent"]}).json()["data"]
    assert [(one["id"], one["question"], one["follow_up"], one["rating"]) for one in listed] == [
        (answer["id"], "Where is it?", True, "negative")
    ]
    positive = {"agent": answer["agent"], "rating": "positive"}
    assert http.get("/v1/feedback", params=positive).json()["data"] == []
    assert http.delete(path).json() == answer
    assert http.get("/v1/feedback", params={"agent": answer["agent"]}).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "rating"),
        ({"rating": "good"}, "rating"),
        ({"rating": "positive", "comment": "x" * 4_001}, "comment"),
    ],
)
def test_wrong_feedback_is_refused_with_the_field(
    http: httpx.Client, body: dict[str, Any], param: str
) -> None:
    answer = http.post("/v1/messages/msg_0/feedback", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_only_answers_take_feedback(http: httpx.Client) -> None:
    _, (question,) = conversation(http, ("user", "Where is it?"))
    refused = http.post(f"/v1/messages/{question['id']}/feedback", json={"rating": "positive"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "message_id")
    assert "role user" in refused.json()["error"]["message"]
    assert http.post("/v1/messages/msg_0/feedback", json={"rating": "positive"}).status_code == 404


def test_statistics_follow_the_feedback_of_an_hour_that_is_rolled_up(
    http: httpx.Client, pool: ConnectionPool, connection: Connection[Any]
) -> None:
    _, messages = conversation(http, ("user", "a?"), ("assistant", "a"), ("user", "b?"), ("assistant", "b"))
    sql = "SELECT feedbacks, positive_feedbacks FROM agent_hourly WHERE agent = %s"

    def counted() -> Any:
        (owner,) = connection.execute(
            "SELECT organisation FROM messages WHERE id = %s", [messages[0]["id"]]
        ).fetchone() or [""]
        compute_hours(pool, owner)
        return connection.execute(sql, [messages[1]["agent"]]).fetchone()

    assert counted() == (0, 0)
    for place, rating in ((1, "positive"), (3, "negative")):
        http.post(f"/v1/messages/{messages[place]['id']}/feedback", json={"rating": rating})
    assert counted() == (2, 1)
    http.delete(f"/v1/messages/{messages[3]['id']}/feedback")
    assert counted() == (1, 1)
    stats = http.get(
        f"/v1/agents/{messages[1]['agent']}/stats",
        params={"start_time": 1772359200, "end_time": 1772362800, "bucket_width": "1h"},
    ).json()
    assert (stats["total"]["feedbacks"], stats["rates"]["positive_feedback_rate"]) == (1, 1.0)


def test_an_erased_customer_leaves_no_feedback(http: httpx.Client, connection: Connection[Any]) -> None:
    customer, messages = conversation(http, ("user", "Where?"), ("assistant", "In Oslo."))
    comment = uuid4().hex
    path = f"/v1/messages/{messages[1]['id']}/feedback"
    http.post(path, json={"rating": "negative", "comment": comment})
    assert http.delete(f"/v1/customers/{customer}").json()["remaining_rows"]["messages"] == 0
    listed = http.get("/v1/feedback", params={"agent": messages[1]["agent"]}).json()["data"]
    assert listed == []
    assert http.post(path, json={"rating": "positive"}).status_code == 404
    kept = connection.execute(
        "SELECT count(*) FROM messages WHERE feedback_comment = %s", [comment]
    ).fetchone()
    assert kept == (0,)
