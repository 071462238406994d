"""/v1/schedules over HTTP: create, show, change, pause, run and delete schedules of an organisation."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute
from psycopg_pool import ConnectionPool

from cluster.database.paging import PageRequest
from cluster.errors import NotPermitted
from cluster.jobs.jobs import SYSTEM
from cluster.jobs.schedules.due import submit_due
from cluster.jobs.schedules.system_schedules import create_system_schedules
from cluster.organisations.audit import list_events
from cluster.organisations.caller import Caller, CallerKind, acting_as
from cluster.settings import Settings
from cluster.submissions import accept_due
from serve_app.routes.schedules.schedules import router
from tests.conftest import new_organisation
from tests.serve_app.conftest import MODEL, Server, serving
from tests.serve_app.raw_requests import new_bytes, upload
from tests.waiting import LONGEST_WAIT_S

LIMIT = 4
OLDEST = PageRequest(newest_first=False)


@pytest.fixture(scope="module")
def own_server(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server of an organisation of its own, which may have few schedules."""
    changes = {"organisation": new_organisation(pool), "organisation_schedules": LIMIT}
    with serving(settings.model_copy(update=changes)) as server:
        yield server


@pytest.fixture
def client(own_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=own_server.url, timeout=LONGEST_WAIT_S) as client:
        yield client
        for schedule in client.get("/v1/schedules").json()["data"]:
            client.delete(f"/v1/schedules/{schedule['id']}").raise_for_status()


@pytest.fixture
def body(client: httpx.Client) -> dict[str, Any]:
    """A request for a schedule that fills a new store every night."""
    store = client.post("/v1/vector_stores", json={}).json()["id"]
    return {
        "kind": "ingest_files",
        "input": {"vector_store_id": store},
        "cron": "30 2 * * *",
        "time_zone": "Europe/Berlin",
    }


def ok(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def refused(response: httpx.Response, status: int, param: str | None) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    return str(error["message"])


def due(settings: Settings, pool: ConnectionPool, schedule: str, *, minutes_ago: int = 0) -> None:
    """Let the schedule be due since a full minute, and look for due schedules as a worker does."""
    with pool.connection() as connection:
        connection.execute(
            "UPDATE schedules SET next_run_at = date_trunc('minute', created_at) - make_interval(mins => %s)"
            " WHERE id = %s",
            [minutes_ago, schedule],
        )
        submit_due(connection, accept=accept_due(settings))


def test_a_new_schedule_shows_what_its_expression_means(client: httpx.Client, body: dict[str, Any]) -> None:
    made = ok(
        client.post("/v1/schedules", json={**body, "not_before": "2027-03-27T00:00:00Z", "name": "nightly"})
    )
    assert made["next_times"] == [
        "2027-03-27T02:30:00+01:00",
        "2027-03-28T03:30:00+02:00",  # clocks go forward at 02:00
        "2027-03-29T02:30:00+02:00",
        "2027-03-30T02:30:00+02:00",
        "2027-03-31T02:30:00+02:00",
    ]
    assert made["next_run_at"] == datetime(2027, 3, 27, 1, 30, tzinfo=UTC).timestamp()
    assert (made["name"], made["catch_up"], made["paused"], made["input"]) == (
        "nightly",
        "all",
        False,
        body["input"],
    )
    assert ok(client.get(f"/v1/schedules/{made['id']}")) == made
    assert ok(client.get("/v1/schedules"))["data"] == [made]


def test_a_schedule_submits_jobs_as_a_request_would_and_shows_how_they_end(
    client: httpx.Client, body: dict[str, Any], settings: Settings, pool: ConnectionPool
) -> None:
    file = upload(client, new_bytes()).json()["id"]
    input = {**body["input"], "file_id": file, "attributes": {"year": 2026}}
    made = ok(
        client.post("/v1/schedules", json={**body, "kind": "index_file", "input": input, "cron": "* * * * *"})
    )
    due(settings, pool, made["id"])
    (run,) = ok(client.get(f"/v1/schedules/{made['id']}/runs"))["data"]
    job = ok(client.get(f"/v1/jobs/{run['job_id']}"))
    assert (job["schedule_id"], job["scheduled_for"]) == (made["id"], run["scheduled_for"])
    assert (run["state"], run["trigger"], job["priority_class"]) == ("queued", "schedule", "scheduled")
    attached = ok(client.get(f"/v1/vector_stores/{input['vector_store_id']}/files/{file}"))
    assert (attached["job_id"], attached["attributes"]) == (job["id"], {"year": 2026})
    ok(client.post(f"/v1/jobs/{job['id']}/cancel"))
    ok(client.delete(f"/v1/vector_stores/{input['vector_store_id']}"))
    due(settings, pool, made["id"], minutes_ago=1)
    found = ok(client.get(f"/v1/schedules/{made['id']}/runs"))["data"]
    ends = [(run["state"], run["error"]["code"], run["job_id"]) for run in found]
    assert ends == [("cancelled", "cancelled", job["id"]), ("failed", "refused", None)]


def test_a_run_by_hand_begins_at_once_and_leaves_the_times(
    client: httpx.Client, body: dict[str, Any]
) -> None:
    window = {"from": "03:00", "to": "03:01"}
    made = ok(client.post("/v1/schedules", json={**body, "window": window, "paused": True}))
    assert (made["paused"], made["next_run_at"], len(made["next_times"])) == (True, None, 5)
    key = {"idempotency-key": uuid4().hex}
    runs = [ok(client.post(f"/v1/schedules/{made['id']}/run", headers=key)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert (runs[0]["trigger"], runs[0]["state"]) == ("request", "queued")
    job = ok(client.get(f"/v1/jobs/{runs[0]['job_id']}"))
    assert (job["kind"], job["window"], job["retry_at"], job["schedule_id"]) == (
        "ingest_files",
        None,
        None,
        made["id"],
    )
    second = ok(client.post(f"/v1/schedules/{made['id']}/run"))
    page = ok(client.get(f"/v1/schedules/{made['id']}/runs", params={"limit": 1}))
    assert ([run["id"] for run in page["data"]], page["has_more"]) == ([second["id"]], True)
    page = ok(client.get(f"/v1/schedules/{made['id']}/runs", params={"limit": 1, "after": page["last_id"]}))
    assert ([run["id"] for run in page["data"]], page["has_more"]) == ([runs[0]["id"]], False)


def test_a_change_keeps_what_it_does_not_name(client: httpx.Client, body: dict[str, Any]) -> None:
    options = {"name": "a", "window": {"from": "22:00", "to": "06:00"}, "catch_up": "latest", "priority": 8}
    made = ok(client.post("/v1/schedules", json={**body, **options}))
    path = f"/v1/schedules/{made['id']}"
    changed = ok(client.patch(path, json={"time_zone": "UTC", "name": None}))
    times = ("time_zone", "next_run_at", "next_times")
    assert changed == {**made, "name": None, **{name: changed[name] for name in times}}
    assert changed["next_times"][0].endswith("T02:30:00+00:00")
    changed = ok(client.patch(path, json={"interval_s": 3600, "window": None, "paused": True}))
    assert (changed["cron"], changed["interval_s"], changed["window"], changed["paused"]) == (
        None,
        3600,
        None,
        True,
    )
    resumed = ok(client.patch(path, json={"paused": False, "cron": "0 5 * * mon"}))
    assert (resumed["cron"], resumed["interval_s"], resumed["priority"]) == ("0 5 * * mon", None, 8)
    refused(client.patch(path, json={"kind": "index_file"}), 400, "kind")
    refused(client.patch(path, json={"input": {"vector_store_id": "vs_none"}}), 404, None)
    assert ok(client.get(path)) == resumed
    assert ok(client.delete(path)) == {"id": made["id"], "object": "schedule.deleted", "deleted": True}
    assert client.get(path).status_code == client.get(f"{path}/runs").status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"cron": "61 * * * *"}, 400, "cron"),
        ({"cron": "0 0 31 2 *"}, 400, "cron"),
        ({"cron": None}, 400, "cron"),
        ({"interval_s": 3600}, 400, "cron"),
        ({"cron": None, "interval_s": 59}, 400, "interval_s"),
        ({"time_zone": "Mars/Olympus"}, 400, "time_zone"),
        ({"timezone": "UTC"}, 400, "timezone"),
        ({"catch_up": "some"}, 400, "catch_up"),
        ({"catch_up_limit": 0}, 400, "catch_up_limit"),
        ({"priority": 10}, 400, "priority"),
        ({"window": {"from": "22:00", "to": "6"}}, 400, "window.to"),
        ({"not_before": "2020-01-01T00:00:00Z"}, 400, "not_before"),
        ({"kind": "expire"}, 400, "kind"),
        ({"kind": "compute_daily_analytics"}, 400, "kind"),
        ({"input": None}, 400, "input.vector_store_id"),
        ({"input": {"vector_store_id": 1}}, 400, "input.vector_store_id"),
        ({"input": {"vector_store_id": "vs_none"}}, 404, None),
    ],
)
def test_a_schedule_that_could_not_work_is_refused(
    client: httpx.Client, body: dict[str, Any], change: dict[str, Any], status: int, param: str | None
) -> None:
    refused(client.post("/v1/schedules", json={**body, **change}), status, param)
    assert ok(client.get("/v1/schedules"))["data"] == []


async def test_a_key_with_a_list_of_models_or_stores_has_no_schedules() -> None:
    """A schedule works without its key, so it would not have the limits of the key."""
    for lists in ({"models": frozenset({MODEL})}, {"stores": frozenset({"vs_1"})}):
        with acting_as(Caller(kind=CallerKind.KEY, id="key_1", **lists)):
            for route in router.routes:
                assert isinstance(route, APIRoute)
                (check,) = [dependency.dependency for dependency in route.dependencies]
                with pytest.raises(NotPermitted, match="limited to some stores or models"):
                    await check()  # type: ignore[misc]


def test_every_change_is_in_the_audit_log(
    client: httpx.Client, body: dict[str, Any], pool: ConnectionPool, own_server: Server
) -> None:
    made = ok(client.post("/v1/schedules", json=body))
    path = f"/v1/schedules/{made['id']}"
    ok(client.patch(path, json={"paused": True}))
    ok(client.post(f"{path}/run"))
    ok(client.delete(path))
    with pool.connection() as connection:
        page = list_events(
            connection, own_server.service.settings.organisation, target=made["id"], page=OLDEST
        )
    assert [(event.type, event.actor_kind) for event in page.items] == [
        (f"schedule.{change}", "keyless") for change in ("created", "updated", "run", "deleted")
    ]
    assert page.items[1].details == {"changed": ["enabled"], "paused": True}


def test_an_organisation_has_so_many_schedules_at_most(client: httpx.Client, body: dict[str, Any]) -> None:
    for _ in range(LIMIT):
        ok(client.post("/v1/schedules", json=body))
    response = client.post("/v1/schedules", json=body)
    assert "CLUSTER_ORGANISATION_SCHEDULES" in refused(response, 429, None)
    assert "retry-after" in response.headers


def test_an_organisation_sees_neither_schedules_of_others_nor_those_of_the_cluster(
    client: httpx.Client, body: dict[str, Any], server: Server, pool: ConnectionPool
) -> None:
    made = ok(client.post("/v1/schedules", json=body))
    with pool.connection() as connection:
        create_system_schedules(connection)
    with httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as stranger:
        assert made["id"] not in stranger.get("/v1/schedules").text
        for id in (made["id"], "sched_expire"):
            for method, path in (
                ("GET", ""),
                ("GET", "/runs"),
                ("POST", "/run"),
                ("PATCH", ""),
                ("DELETE", ""),
            ):
                answer = stranger.request(
                    method, f"/v1/schedules/{id}{path}", json={} if method == "PATCH" else None
                )
                assert answer.status_code == 404, (method, path)
    assert SYSTEM not in client.get("/v1/schedules").text
    assert [one["id"] for one in ok(client.get("/v1/schedules"))["data"]] == [made["id"]]
