"""/v1/jobs over HTTP: lists, one job, its events as they happen, its end, another try."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import bundled
from cluster.jobs import attempts, progress, queue
from cluster.jobs.jobs import Job, PriorityClass
from cluster.settings import Settings
from serve_app.edge import sse
from serve_app.routes.jobs.job_events import EventFeed
from tests.cluster.jobs import turns
from tests.cluster.jobs.turns import TEST
from tests.conftest import kill_postmaster, new_organisation
from tests.serve_app.conftest import Server, serving
from tests.waiting import LONGEST_WAIT_S, Stopwatch, until

HEADERS = {"accept": "text/event-stream"}


@pytest.fixture(scope="module")
def own(pool: ConnectionPool) -> str:
    """The organisation that the server of this module acts for."""
    return new_organisation(pool)


@pytest.fixture(scope="module")
def jobs_server(settings: Settings, own: str) -> Iterator[Server]:
    with serving(settings.model_copy(update={"organisation": own})) as server:
        yield server


@pytest.fixture
def client(jobs_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=jobs_server.url, timeout=LONGEST_WAIT_S) as client:
        yield client


@pytest.fixture
def connection(pool: ConnectionPool, own: str) -> Iterator[Connection[Any]]:
    """What a test leaves open is ended, so that the next finds its own job first."""
    with pool.connection() as connection:
        connection.autocommit = True
        yield connection
        connection.execute(
            "UPDATE jobs SET state = 'cancelled', finished_at = now()"
            " WHERE organisation = %s AND finished_at IS NULL",
            [own],
        )
        connection.autocommit = False


def submit(connection: Connection[Any], organisation: str, **options: Any) -> Job:
    return queue.submit(
        connection, organisation, TEST, {"n": 1}, **{"priority_class": PriorityClass.HIGH, **options}
    )


def running(connection: Connection[Any], organisation: str) -> Job:
    """A job that a worker works on."""
    job = submit(connection, organisation, priority=9)
    begun = turns.begin(connection, organisation)
    assert begun.id == job.id
    return begun


def failed(connection: Connection[Any], organisation: str, code: str = "broken") -> Job:
    return attempts.fail(connection, running(connection, organisation), "it broke", code=code)


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """As a browser reads them."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line and "data" in fields:
            yield {"id": int(fields["id"]), "event": fields["event"], **json.loads(fields["data"])}
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def test_a_list_is_filtered_and_paged(
    client: httpx.Client, connection: Connection[Any], own: str, organisation: str
) -> None:
    theirs = submit(connection, organisation)
    mine = [
        submit(connection, own, subject="file-list", priority_class=PriorityClass.LOW, priority=n)
        for n in range(3)
    ]
    page = client.get("/v1/jobs", params={"subject": "file-list", "limit": 2}).json()
    assert (
        [one["id"] for one in page["data"]] == [mine[2].id, mine[1].id] == [page["first_id"], page["last_id"]]
    )
    assert (page["object"], page["has_more"]) == ("list", True)
    first = page["data"][0]
    assert (first["state"], first["priority_class"], first["priority"], first["kind"]) == (
        "queued",
        "low",
        2,
        "test",
    )
    rest = client.get(
        "/v1/jobs",
        params={"subject": "file-list", "after": page["last_id"], "priority": "low", "state": "queued"},
    ).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([mine[0].id], False)
    later = client.get(
        "/v1/jobs", params={"subject": "file-list", "created_after": str(mine[1].created_at.timestamp())}
    ).json()
    assert {one["id"] for one in later["data"]} >= {mine[2].id}
    assert mine[0].id not in {one["id"] for one in later["data"]}
    assert theirs.id not in client.get("/v1/jobs", params={"limit": 100}).text


@pytest.mark.parametrize(
    "parameters", [{"state": "lost"}, {"limit": "0"}, {"created_after": "yesterday"}, {"after": "job_none"}]
)
def test_a_list_nobody_can_make_is_refused(client: httpx.Client, parameters: dict[str, str]) -> None:
    refused = client.get("/v1/jobs", params=parameters)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].endswith(next(iter(parameters)))


def test_one_job_shows_stages_attempts_progress_and_why_it_waits(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    job = running(connection, own)
    progress.begin_stage(connection, job, "embed")
    progress.record_progress(connection, job, done=3, total=12, waits_for="gpu")
    connection.execute("UPDATE job_stages SET started_at = now() - interval '6 s' WHERE job = %s", [job.id])
    shown = client.get(f"/v1/jobs/{job.id}").json()
    assert shown["waiting"] == {"reason": "gpu", "message": "waiting for the model", "until": None}
    assert {name: shown["progress"][name] for name in ("done", "total", "unit")} == {
        "done": 3,
        "total": 12,
        "unit": "documents",
    }
    assert shown["progress"]["rate_per_s"] == pytest.approx(0.5, rel=0.2)
    assert shown["progress"]["eta_s"] == pytest.approx(18, rel=0.2)
    assert [(one["stage"], one["tries"], one["seconds"]) for one in shown["stages"]] == [("embed", 1, None)]
    assert [(one["attempt"], one["worker"], one["outcome"]) for one in shown["attempts"]] == [
        (1, "test-worker", None)
    ]
    progress.end_stage(connection, job, "embed")
    attempts.fail(connection, job, "no room", code="full")
    ended = client.get(f"/v1/jobs/{job.id}").json()
    assert (ended["state"], ended["error"], ended["waiting"]) == (
        "failed",
        {"code": "full", "message": "no room"},
        None,
    )
    assert ended["attempts"][0]["error"] == "no room"
    assert ended["attempts"][0]["seconds"] > 0
    assert ended["stages"][0]["seconds"] == pytest.approx(6, rel=0.2)
    queued = client.get(
        f"/v1/jobs/{submit(connection, own, priority_class=PriorityClass.SCHEDULED).id}"
    ).json()
    assert queued["position"] == 1
    assert queued["waiting"]["message"]


def test_what_belongs_to_others_is_not_there(
    client: httpx.Client, connection: Connection[Any], organisation: str
) -> None:
    theirs = failed(connection, organisation)
    for method, path in [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")]:
        response = client.request(method, f"/v1/jobs/{theirs.id}{path}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert theirs.id not in client.post("/v1/jobs/retry", json={"kind": "test"}).json()["job_ids"]


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked_to_end(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    waiting = submit(connection, own)
    ended = client.post(f"/v1/jobs/{waiting.id}/cancel").json()
    assert (ended["state"], ended["finished_at"] is not None) == ("cancelled", True)
    assert client.post(f"/v1/jobs/{waiting.id}/cancel").json() == ended
    job = running(connection, own)
    asked = client.post(f"/v1/jobs/{job.id}/cancel").json()
    assert (asked["state"], asked["cancel_asked"]) == ("running", True)
    attempts.end_cancelled(connection, job)
    assert client.get(f"/v1/jobs/{job.id}").json()["state"] == "cancelled"


def test_only_what_failed_or_was_cancelled_is_queued_again(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    dead = failed(connection, own)
    again = client.post(f"/v1/jobs/{dead.id}/retry").json()
    assert (again["id"], again["state"], again["attempt"], again["last_attempt"]) == (dead.id, "queued", 2, 4)
    refused = client.post(f"/v1/jobs/{dead.id}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    client.post(f"/v1/jobs/{dead.id}/cancel")
    assert client.post(f"/v1/jobs/{dead.id}/retry").json()["attempt"] == 3


def test_dead_letters_that_match_are_queued_again_some_at_a_time(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    mended = [failed(connection, own, "disk_full") for _ in range(3)]
    other = failed(connection, own, "no_text")
    first = client.post("/v1/jobs/retry", json={"error_code": "disk_full", "limit": 2}).json()
    assert first == {
        "object": "job.retry",
        "retried": 2,
        "job_ids": [mended[0].id, mended[1].id],
        "has_more": True,
    }
    assert client.post("/v1/jobs/retry", json={"error_code": "disk_full"}).json()["job_ids"] == [mended[2].id]
    assert client.get(f"/v1/jobs/{other.id}").json()["state"] == "failed"
    assert client.post("/v1/jobs/retry", json={"limit": 1001}).status_code == 400
    assert client.post("/v1/jobs/retry", json={"colour": "red"}).json()["error"]["param"] == "colour"


def test_events_come_as_they_happen_until_the_job_ends(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    job = running(connection, own)

    def work() -> None:
        time.sleep(0.6)
        progress.begin_stage(connection, job, "parse")
        time.sleep(0.6)
        attempts.finish(connection, job, result={"chunks": 7})

    worker = threading.Thread(target=work)
    worker.start()
    with client.stream("GET", f"/v1/jobs/{job.id}/events", headers=HEADERS) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = list(events(response.iter_lines()))
    worker.join()
    assert [one["event"] for one in seen] == ["queued", "started", "stage", "succeeded"]
    assert (seen[2]["stage"], seen[3]["result"], seen[3]["job_id"]) == ("parse", {"chunks": 7}, job.id)
    assert [one["id"] for one in seen] == sorted({one["id"] for one in seen})


def test_a_listener_that_is_cut_off_loses_nothing_and_sees_nothing_twice(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    job, written = running(connection, own), 120

    def work() -> None:
        for n in range(written):
            progress.record_progress(connection, job, done=n, total=written)
            time.sleep(0.02)
        attempts.finish(connection, job, result={})

    worker = threading.Thread(target=work)
    worker.start()
    seen: list[dict[str, Any]] = []
    cuts = 0
    while not seen or seen[-1]["event"] != "succeeded":
        resume = {"last-event-id": str(seen[-1]["id"])} if seen else {}
        with client.stream("GET", f"/v1/jobs/{job.id}/events", headers={**HEADERS, **resume}) as response:
            for event in events(response.iter_lines()):
                seen.append(event)
                if len(seen) % 17 == 0:
                    cuts += 1
                    break  # the connection is closed in the middle of the stream
    worker.join()
    assert cuts >= 5
    assert [one["done"] for one in seen if one["event"] == "progress"] == list(range(written))
    assert [one["event"] for one in seen if one["event"] != "progress"] == ["queued", "started", "succeeded"]


def test_who_has_seen_the_end_is_told_not_to_come_again(
    client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    job = failed(connection, own)
    with client.stream("GET", f"/v1/jobs/{job.id}/events") as response:
        last = list(events(response.iter_lines()))[-1]
    assert last["event"] == "failed"
    assert (
        client.get(f"/v1/jobs/{job.id}/events", headers={"last-event-id": str(last["id"])}).status_code == 204
    )
    assert client.get(f"/v1/jobs/{job.id}/events", headers={"last-event-id": "the last"}).status_code == 400


def test_a_stream_outlives_a_postgres_that_was_killed(
    client: httpx.Client, settings: Settings, pool: ConnectionPool, own: str
) -> None:
    with pool.connection() as connection:
        job = running(connection, own)
    with client.stream("GET", f"/v1/jobs/{job.id}/events") as response:
        stream = events(response.iter_lines())
        assert [next(stream)["event"] for _ in range(2)] == ["queued", "started"]
        kill_postmaster(settings)
        time.sleep(1)  # the server notices
        with psycopg.connect(bundled.start(settings)) as back:
            attempts.finish(back, job, result={})
        assert [one["event"] for one in stream] == ["succeeded"]


def feed_of(server: Server) -> EventFeed:
    feed: EventFeed = server.app.state.events
    return feed


def test_listeners_hold_no_connection_and_leave_with_their_client(
    jobs_server: Server, client: httpx.Client, connection: Connection[Any], own: str
) -> None:
    job = running(connection, own)
    feed = feed_of(jobs_server)
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=jobs_server.url, timeout=LONGEST_WAIT_S, limits=limits) as many:
        open = [
            many.send(many.build_request("GET", f"/v1/jobs/{job.id}/events"), stream=True) for _ in range(64)
        ]
        assert {response.status_code for response in open} == {200}
        assert feed.listeners.count == 64 > jobs_server.service.settings.database_pool_size
        full = client.get(f"/v1/jobs/{job.id}/events")
        assert (full.status_code, full.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(full.headers["retry-after"]) > 0
        assert client.get(f"/v1/jobs/{job.id}").status_code == 200
    until(lambda: feed.listeners.count == 0)
    attempts.finish(connection, job, result={})


def test_a_silent_stream_says_that_it_lives_and_ends_with_the_replica(
    settings: Settings, connection: Connection[Any], own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.5)
    job = running(connection, own)
    quick = settings.model_copy(update={"organisation": own, "request_timeout_s": 2.0})
    with serving(quick) as server, httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as client:
        began = Stopwatch()
        with client.stream("GET", f"/v1/jobs/{job.id}/events") as response:
            lines = list(response.iter_lines())
        assert time.monotonic() - began.began > 1
        assert began.seconds() < 5
    assert ": nothing new" in lines
    assert [one["event"] for one in events(iter(lines))] == ["queued", "started"]
    attempts.finish(connection, job, result={})
