"""The overview counts an organisation's own jobs; the whole cluster is for the operator."""

import json
import threading
from typing import Any

import httpx
import pytest
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.errors import Unavailable
from serve_app.routes.overview import overview_feed
from serve_app.routes.overview.overview_feed import OverviewEvents, OverviewFeed
from tests.conftest import new_organisation
from tests.serve_app.conftest import OPERATOR_KEY, Server, bearer
from tests.waiting import LONGEST_WAIT_S

#: Queue class, state and age in seconds of each job of the organisation.
JOBS = [("high", "queued", 90), ("high", "queued", 30), ("low", "running", 60), ("low", "failed", 60)]


@pytest.fixture(scope="module")
def owner(keyed_server: Server) -> Any:
    """An organisation with these jobs, and a client with its key."""
    with open_pool(keyed_server.service.settings, access=OWNER) as pool:
        organisation = new_organisation(pool)
        _insert_jobs(pool, organisation)
        asking = {**bearer(OPERATOR_KEY), "openai-organization": organisation}
        made = httpx.post(
            f"{keyed_server.url}/v1/organisation/keys",
            json={"name": "a", "scopes": ["read"]},
            headers=asking,
            timeout=LONGEST_WAIT_S,
        ).json()
        with httpx.Client(
            base_url=keyed_server.url, timeout=LONGEST_WAIT_S, headers=bearer(made["key"])
        ) as client:
            yield organisation, made["id"], client


def _insert_jobs(pool: ConnectionPool, organisation: str) -> None:
    statement = """
        INSERT INTO jobs (organisation, id, kind, state, input, priority_class, created_at, finished_at)
        VALUES (%(organisation)s, %(id)s, 'index_file', %(state)s, '{}', %(class)s,
            now() - make_interval(secs => %(age)s), CASE WHEN %(state)s = 'failed' THEN now() END)
    """
    with pool.connection() as connection:
        for number, (priority_class, state, age) in enumerate(JOBS):
            values = {"id": f"job_{number}", "state": state, "class": priority_class, "age": age}
            connection.execute(statement, {"organisation": organisation, **values})
        connection.execute(
            "INSERT INTO usage_events (organisation, id, kind, unit, quantity, source)"
            " VALUES (%s, 'use_1', 'embedding', 'token', 9000, 'http')",
            [organisation],
        )


def test_the_caller_is_the_key_of_the_request(owner: Any, keyed_server: Server) -> None:
    organisation, key, client = owner
    assert client.get("/v1/caller").json() == {
        "object": "caller",
        "kind": "key",
        "id": key,
        "organisation": organisation,
        "scopes": ["read"],
        "operator": False,
    }
    operator = httpx.get(
        f"{keyed_server.url}/v1/caller", headers=bearer(OPERATOR_KEY), timeout=LONGEST_WAIT_S
    ).json()
    assert (operator["kind"], operator["operator"]) == ("operator", True)


def test_the_overview_counts_the_jobs_of_the_organisation(owner: Any) -> None:
    _, _, client = owner
    found = client.get("/v1/overview").json()
    queues = {one["priority_class"]: one for one in found["queues"]}
    assert {name: (one["queued"], one["running"]) for name, one in queues.items()} == {
        "high": (2, 0),
        "medium": (0, 0),
        "low": (0, 1),
        "scheduled": (0, 0),
    }
    assert 90 <= queues["high"]["oldest_wait_s"] < 120
    assert (found["dead_letters"], found["ended"]["failed"], found["tokens_per_s"]) == (1, 1, 10.0)
    assert found["fleet"] is None


def test_only_the_operator_sees_the_whole_cluster(owner: Any, operator: httpx.Client) -> None:
    _, _, client = owner
    for path in ("/v1/overview", "/v1/overview/events"):
        refused = client.get(path, params={"scope": "cluster"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_permissions")
    found = operator.get("/v1/overview", params={"scope": "cluster"}).json()
    assert found["dead_letters"] >= 1
    assert found["fleet"] == {"worker_slots": 0, "nodes": None, "deployments": [], "resources": []}


def test_the_stream_sends_the_overview_at_once(owner: Any) -> None:
    _, _, client = owner
    lines = client.get("/v1/overview/events", params={"duration_s": 0}).text.splitlines()
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [one["queues"][0]["queued"] for one in data] == [2]


async def test_a_database_that_is_away_and_a_fleet_that_hangs_end_no_stream(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page shows the last numbers, and continues when the database answers again."""
    monkeypatch.setattr(overview_feed, "PERIOD_S", 0.02)
    monkeypatch.setattr(overview_feed, "FLEET_TIMEOUT_S", 0.1)
    hanging, calls = threading.Event(), []

    def read_fleet() -> None:
        calls.append(1)
        hanging.wait(LONGEST_WAIT_S)

    feed = OverviewFeed(server.service, read_fleet)
    source = OverviewEvents(feed, "cluster", "default")
    try:
        first = await source.next(30)
        assert first is not None
        assert first.events[0].data["fleet"]["nodes"] is None
        with monkeypatch.context() as away:

            async def refuse(work: Any) -> None:
                raise Unavailable("the database does not answer")

            away.setattr(server.service, "read", refuse)
            assert await source.next(0.2) is None
        await source.next(0.2)  # the database answers again
        assert len(calls) == 1  # one call hangs, and no other began
    finally:
        hanging.set()
