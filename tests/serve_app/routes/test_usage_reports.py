"""/v1/usage_reports over HTTP: request a report, wait for it, download its files, and get events about it."""

from collections.abc import Iterator
from hashlib import sha256

import httpx
import pytest
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.usage_reports.reports import fail, get_report
from tests.cluster.usage_reports.billed import IN_PERIOD, Billed, new_billed
from tests.serve_app.conftest import Server, bearer
from tests.waiting import LONGEST_WAIT_S


@pytest.fixture(scope="module")
def keyed_pool(keyed_server: Server) -> Iterator[ConnectionPool]:
    """Connections to the database of the server with keys."""
    pool = open_pool(keyed_server.service.settings, access=OWNER)
    yield pool
    pool.close()


@pytest.fixture
def owner(keyed_server: Server, keyed_pool: ConnectionPool) -> Billed:
    """An organisation of that server."""
    return new_billed(keyed_pool, keyed_server.service.blobs)


@pytest.fixture
def client(operator: httpx.Client, owner: Billed) -> Iterator[httpx.Client]:
    """Requests of the operator for the organisation."""
    headers = {**operator.headers, "openai-organization": owner.id}
    with httpx.Client(base_url=operator.base_url, headers=headers, timeout=LONGEST_WAIT_S) as client:
        yield client


def test_a_report_is_requested_made_listed_and_downloaded(client: httpx.Client, owner: Billed) -> None:
    hook = {"url": "https://example.com/reports", "event_types": ["usage_report.completed"]}
    assert client.post("/v1/webhooks", json=hook).status_code == 200
    asked = client.post("/v1/usage_reports", json={"period": "2026-04-01"}).json()
    path = f"/v1/usage_reports/{asked['id']}"
    assert (asked["status"], asked["period_start"], asked["period_end"]) == (
        "queued",
        "2026-03-15",
        "2026-04-14",
    )
    assert client.get(f"/v1/jobs/{asked['job_id']}").json()["kind"] == "usage_report"
    early = client.get(f"{path}/content")
    assert (early.status_code, "wait until it is completed" in early.text) == (409, True)
    with owner.opener() as connection:
        report = get_report(connection, owner.id, asked["id"])
    owner.maker.make_requested(report, IN_PERIOD)
    made = client.get(path).json()
    assert (made["status"], made["cost_usd"], made["formats"]) == ("completed", "0", ["csv", "pdf"])
    assert client.get("/v1/usage_reports", params={"state": made["state"]}).json()["data"] == [made]
    for format in ("csv", "pdf"):
        file = client.get(f"{path}/content", params={"format": format})
        assert sha256(file.content).hexdigest() == made[f"{format}_sha256"]
        assert file.headers["etag"] == f'"{made[f"{format}_sha256"]}"'
        assert f"usage-{owner.id}-2026-03-15-{made['state']}.{format}" in file.headers["content-disposition"]
    with owner.opener() as connection:
        events = connection.execute(
            "SELECT type, data FROM webhook_events WHERE organisation = %s", [owner.id]
        )
        assert events.fetchall() == [("usage_report.completed", {"id": made["id"], "state": made["state"]})]


def test_a_csv_alone_has_no_pdf_and_a_failure_is_shown(client: httpx.Client, owner: Billed) -> None:
    hook = {"url": "https://example.com/reports", "event_types": ["usage_report.failed"]}
    assert client.post("/v1/webhooks", json=hook).status_code == 200
    asked = client.post("/v1/usage_reports", json={"period": "current", "format": "csv"}).json()
    with owner.opener() as connection:
        report = get_report(connection, owner.id, asked["id"])
        fail(connection, report, "the disk is full")
    shown = client.get(f"/v1/usage_reports/{asked['id']}").json()
    assert (shown["status"], shown["error"], shown["formats"]) == ("failed", "the disk is full", ["csv"])
    owner.maker.make_requested(report, IN_PERIOD)
    pdf = client.get(f"/v1/usage_reports/{asked['id']}/content", params={"format": "pdf"})
    assert (pdf.status_code, "has no PDF" in pdf.text) == (404, True)
    with owner.opener() as connection:
        events = connection.execute("SELECT type FROM webhook_events WHERE organisation = %s", [owner.id])
        assert events.fetchall() == [("usage_report.failed",)]


def test_only_a_key_with_the_scope_admin_sees_bills(client: httpx.Client) -> None:
    key = client.post("/v1/organisation/keys", json={"name": "ci", "scopes": ["read", "write"]}).json()["key"]
    refused = client.get("/v1/usage_reports", headers=bearer(key))
    assert (refused.status_code, "scope admin" in refused.text) == (403, True)
    unknown = client.post("/v1/usage_reports", json={"period": "current", "formt": "csv"})
    assert unknown.status_code == 400
    wrong = client.post("/v1/usage_reports", json={"period": "next"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "period")
