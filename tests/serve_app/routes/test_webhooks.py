"""OpenAI's unmodified client manages webhook endpoints. A secret is shown once, a test event is sent at
once.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from openai import OpenAI
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.secrets import open_cipher
from cluster.webhooks.deliveries import record_event
from cluster.webhooks.endpoints import NewEndpoint, create_endpoint
from cluster.webhooks.event_types import EVENT_TYPES
from tests.cluster.outbound.outside import OutsideServer, answering
from tests.conftest import new_organisation
from tests.serve_app.conftest import Server

URL = "https://hooks.example.com/cluster"


@pytest.fixture(autouse=True)
def without_endpoints(server: Server, connection: Connection[Any]) -> Iterator[None]:
    """Delete the endpoints that a test made, because the organisation may have only three."""
    yield
    organisation = server.service.settings.organisation
    connection.execute("DELETE FROM webhook_endpoints WHERE organisation = %s", [organisation])


def create(http: httpx.Client, url: str = URL, **more: Any) -> dict[str, Any]:
    made = http.post("/v1/webhooks", json={"url": url, "event_types": ["job.failed"], **more})
    assert made.status_code == 200, made.text
    return cast(dict[str, Any], made.json())


def test_openais_client_manages_endpoints(openai_client: OpenAI) -> None:
    made = openai_client.webhooks.create(
        url=URL, name="mine", event_types=["batch.failed", "batch.completed", "batch.failed"]
    )
    assert made.signing_secret.startswith("whsec_")
    assert made.signing_secret_hint == f"whsec_...{made.signing_secret[-4:]}"
    assert made.event_types == ["batch.completed", "batch.failed"]

    changed = openai_client.webhooks.update(made.id, name="other", event_types=["batch.expired"])
    assert (changed.name, changed.url, changed.event_types) == ("other", URL, ["batch.expired"])
    assert openai_client.webhooks.retrieve(made.id) == changed
    assert [one.id for one in openai_client.webhooks.list()] == [made.id]
    rotated = openai_client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    assert rotated.signing_secret != made.signing_secret
    assert openai_client.webhooks.event_types.list().data == list(EVENT_TYPES)
    assert openai_client.webhooks.delete(made.id).deleted
    assert list(openai_client.webhooks.list()) == []


def test_changes_are_in_the_audit_log_without_url_and_secret(http: httpx.Client) -> None:
    made = create(http, f"{URL}?token=a-secret-of-the-receiver")
    path = f"/v1/webhooks/{made['id']}"
    http.patch(path, json={"enabled": False, "name": ""})
    http.patch(path, json={"enabled": False})
    rotated = http.post(f"{path}/rotate_secret").json()
    http.delete(path)

    log = http.get("/v1/organisation/audit_logs", params={"limit": 100})
    mine = [one for one in log.json()["data"] if made["id"] in json.dumps(one)]
    assert [one["type"] for one in reversed(mine)] == [
        "webhook_endpoint.created",
        "webhook_endpoint.changed",
        "webhook_endpoint.secret_rotated",
        "webhook_endpoint.deleted",
    ]
    secrets = ("a-secret", made["signing_secret"], rotated["signing_secret"])
    assert not any(secret in log.text for secret in secrets)


def test_the_secret_is_shown_once_and_stored_encrypted(
    http: httpx.Client, connection: Connection[Any]
) -> None:
    made = create(http)
    secret = made["signing_secret"]

    shown = [http.get(path).text for path in ("/v1/webhooks", f"/v1/webhooks/{made['id']}")]
    assert not any(secret in text or 'signing_secret"' in text for text in shown)
    stored = connection.execute(
        "SELECT webhook_secrets::text FROM webhook_secrets WHERE endpoint = %s", [made["id"]]
    ).fetchall()
    assert len(stored) == 1
    assert secret[6:-4] not in stored[0][0]


def test_a_repeated_request_makes_no_second_endpoint_and_keeps_no_secret(
    http: httpx.Client, connection: Connection[Any]
) -> None:
    body = {"url": URL, "event_types": ["job.failed"]}
    first = http.post("/v1/webhooks", json=body, headers={"idempotency-key": "hook-1"})
    second = http.post("/v1/webhooks", json=body, headers={"idempotency-key": "hook-1"})

    assert (first.status_code, second.status_code) == (200, 409)
    assert first.json()["id"] in second.json()["error"]["message"]
    kept = connection.execute("SELECT count(*) FROM idempotency_keys WHERE answer::text LIKE '%%whsec_%%'")
    assert kept.fetchone() == (0,)


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"url": "http://127.0.0.2/"}, "url", "not on the public internet"),
        ({"url": "https://[::1]/"}, "url", "not on the public internet"),
        ({"url": "https://user:secret@hooks.example.com/"}, "url", "user name"),
        ({"url": "https://hooks.example.com:22/"}, "url", "port 22"),
        ({"url": "ftp://hooks.example.com/"}, "url", "https://"),
        ({"url": "https://hooks.example.com/" + "a" * 2_048}, "url", "2,048"),
        ({"event_types": []}, "event_types", ""),
        ({"event_types": ["response.completed"]}, "event_types", "job.failed"),
        ({"event_types": ["job.failed"] * 100}, "event_types", ""),
        ({"name": "n" * 257}, "name", "256"),
        ({"url": None}, "url", ""),
    ],
)
def test_a_wrong_endpoint_is_refused(body: dict[str, Any], param: str, says: str, http: httpx.Client) -> None:
    right = {"url": URL, "event_types": ["job.failed"]}
    refused = [
        http.post("/v1/webhooks", json={**right, **body}),
        http.patch(f"/v1/webhooks/{create(http)['id']}", json=body),
    ]
    for one in refused[: 1 if body == {"url": None} else 2]:
        assert one.status_code == 400, one.text
        assert one.json()["error"]["param"] == param
        assert says in one.json()["error"]["message"]
        assert "secret" not in one.text


def test_an_organisation_has_a_limited_number_of_endpoints(http: httpx.Client) -> None:
    made = [create(http, f"{URL}/{number}") for number in range(3)]
    more = {"url": URL, "event_types": ["job.failed"]}
    refused = http.post("/v1/webhooks", json=more)
    http.delete(f"/v1/webhooks/{made[0]['id']}")

    assert refused.status_code == 429
    assert "may have 3" in refused.json()["error"]["message"]
    assert http.post("/v1/webhooks", json=more).status_code == 200


def test_without_a_secret_key_webhooks_are_refused_with_a_reason(
    http: httpx.Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        server.service, "settings", server.service.settings.model_copy(update={"secret_key": None})
    )
    refused = http.post("/v1/webhooks", json={"url": URL, "event_types": ["job.failed"]})
    assert refused.status_code == 409
    assert "CLUSTER_SECRET_KEY" in refused.json()["error"]["message"]


def test_an_endpoint_of_another_organisation_does_not_exist(
    http: httpx.Client, server: Server, pool: ConnectionPool, connection: Connection[Any]
) -> None:
    other, cipher = new_organisation(pool), open_cipher(server.service.settings.secret_key)
    with connection.transaction():
        new = NewEndpoint(url=URL, event_types=["job.failed"])
        made, _ = create_endpoint(connection, cipher, other, new, limit=1)
    event = record_event(connection, other, "job.failed", {"id": "job_1"})
    path = f"/v1/webhooks/{made.id}"
    asked = [
        http.get(path),
        http.patch(path, json={"name": "mine"}),
        http.post(f"{path}/rotate_secret"),
        http.post(f"{path}/test"),
        http.get(f"{path}/deliveries"),
        http.post(f"{path}/deliveries/{event}/redeliver"),
        http.delete(path),
    ]
    assert [one.status_code for one in asked] == [404] * 7
    assert http.get("/v1/webhooks").json()["data"] == []
    connection.execute("DELETE FROM webhook_endpoints WHERE organisation = %s", [other])


@pytest.mark.parametrize("status", [200, 500])
def test_a_test_event_is_sent_at_once_and_signed(
    status: int, openai_client: OpenAI, http: httpx.Client, receiver: OutsideServer
) -> None:
    receiver.requests.clear()
    receiver.answers["/hook"] = answering(status, b"not shown")
    made = create(http, receiver.url("/hook"), event_types=["batch.completed", "job.failed"])

    result = openai_client.webhooks.test(made["id"], event_type="batch.completed")

    assert (result.status_code, result.event_type) == (status, "batch.completed")
    [(method, _, headers, body)] = receiver.requests
    event = openai_client.webhooks.unwrap(body, headers, secret=made["signing_secret"])
    assert (method, event.type, event.id) == ("POST", "batch.completed", headers["webhook-id"])
    assert http.get(f"/v1/webhooks/{made['id']}/deliveries").json()["data"] == []


def test_a_test_of_an_endpoint_that_does_not_answer_says_so(
    http: httpx.Client, receiver: OutsideServer
) -> None:
    receiver.answers["/silent"] = lambda handler: handler.reset()
    made = create(http, receiver.url("/silent"))
    failed = http.post(f"/v1/webhooks/{made['id']}/test")
    assert failed.status_code == 400
    assert "did not answer: the connection ended" in failed.json()["error"]["message"]


def test_the_delivery_log_has_pages_and_events_are_sent_again(
    http: httpx.Client, server: Server, connection: Connection[Any]
) -> None:
    made, organisation = create(http), server.service.settings.organisation
    events = [record_event(connection, organisation, "job.failed", {"id": f"job_{n}"}) for n in range(3)]
    path = f"/v1/webhooks/{made['id']}/deliveries"
    connection.execute(
        "UPDATE webhook_deliveries SET state = 'failed', error = 'no', ended_at = now() WHERE event = %s",
        [events[0]],
    )

    first = http.get(path, params={"limit": 2}).json()
    second = http.get(path, params={"limit": 2, "after": first["last_id"]}).json()
    again = http.post(f"{path}/{events[0]}/redeliver").json()

    assert [one["id"] for one in (*first["data"], *second["data"])] == events[::-1]
    assert (first["has_more"], second["data"][0]["status"], second["data"][0]["error"]) == (
        True,
        "failed",
        "no",
    )
    assert (again["id"], again["status"], again["data"]) == (events[0], "pending", {"id": "job_0"})
    assert http.post(f"{path}/evt_none/redeliver").status_code == 404
    assert json.dumps(again).count(organisation) == 0
