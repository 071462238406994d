"""A client asks for a crawl, follows it by outcome, cancels it, runs it again, and schedules it."""

import httpx
import pytest
from psycopg_pool import ConnectionPool

from tests.serve_app.conftest import Server

URL = "https://docs.test/guide/"


@pytest.fixture
def store(http: httpx.Client) -> str:
    """Id of a new vector store."""
    return str(http.post("/v1/vector_stores", json={"name": "website"}).json()["id"])


def test_a_crawl_shows_its_options_and_its_pages(http: httpx.Client, store: str) -> None:
    asked = {
        "url": "https://DOCS.test:443/guide/#top",
        "vector_store_id": store,
        "includePaths": ["^/guide/"],
        "maxDiscoveryDepth": 3,
        "attributes": {"kind": "guide"},
        "chunking_strategy": {
            "type": "static",
            "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 0},
        },
    }
    made = http.post("/v1/crawls", json=asked).json()
    assert (made["url"], made["vector_store_id"], made["status"]) == (URL, store, "queued")
    assert made["pages"] == {"discovered": 0, "waiting": 0, "by_outcome": {}, "ignored": {}}
    given = {name: made["options"][name] for name in asked if name != "url"}
    assert given == {name: value for name, value in asked.items() if name != "url"}
    assert http.get(f"/v1/crawls/{made['id']}").json() == made
    assert http.get(f"/v1/jobs/{made['job_id']}").json()["kind"] == "crawl"
    listed = http.get("/v1/crawls", params={"vector_store_id": store}).json()["data"]
    assert [one["id"] for one in listed] == [made["id"]]


def test_the_pages_of_a_crawl_are_listed_by_outcome(
    server: Server, http: httpx.Client, store: str, pool: ConnectionPool
) -> None:
    crawl = http.post("/v1/crawls", json={"url": URL, "vector_store_id": store}).json()["id"]
    row = "INSERT INTO crawl_pages (organisation, crawl, id, url, depth, outcome, detail, status)"
    with pool.connection() as connection:
        for number, outcome in enumerate(["new", "new", "robots", None]):
            values = [
                server.service.settings.organisation,
                crawl,
                f"page_{number}",
                f"{URL}{number}",
                1,
                outcome,
                None,
                200,
            ]
            connection.execute(f"{row} VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", values)
    counts = http.get(f"/v1/crawls/{crawl}").json()["pages"]
    assert (counts["discovered"], counts["waiting"]) == (4, 1)
    assert counts["by_outcome"] == {"new": 2, "robots": 1}
    path, oldest = f"/v1/crawls/{crawl}/pages", {"order": "asc", "outcome": "new"}
    first = http.get(path, params={**oldest, "limit": 1}).json()
    assert ([page["url"] for page in first["data"]], first["has_more"]) == ([f"{URL}0"], True)
    rest = http.get(path, params={**oldest, "after": first["last_id"]}).json()
    assert [(page["outcome"], page["http_status"]) for page in rest["data"]] == [("new", 200)]
    assert http.get(path, params={"outcome": "odd"}).status_code == 400


def test_a_crawl_is_cancelled_and_run_again(http: httpx.Client, store: str) -> None:
    crawl = http.post("/v1/crawls", json={"url": URL, "vector_store_id": store}).json()["id"]
    cancelled = http.post(f"/v1/crawls/{crawl}/cancel").json()
    assert (cancelled["status"], cancelled["error"]["code"]) == ("cancelled", "cancelled")
    assert http.post(f"/v1/crawls/{crawl}/retry").json()["status"] == "queued"
    assert http.post(f"/v1/crawls/{crawl}/retry").status_code == 409


def test_urls_are_discovered_without_a_store(http: httpx.Client) -> None:
    made = http.post("/v1/crawls/discover", json={"url": URL, "sitemap": "only"}).json()
    assert (made["vector_store_id"], made["options"]["sitemap"]) == (None, "only")
    assert http.get(f"/v1/jobs/{made['job_id']}").json()["kind"] == "discover"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "https://user@docs.test/"}, "url"),
        ({"limit": 0}, "limit"),
        ({"limit": 10**9}, "limit"),
        ({"includePaths": ["("]}, "includePaths"),
        ({"sitemap": "maybe"}, "sitemap"),
        ({"excludePath": ["x"]}, "excludePath"),
        ({"attributes": {"a": [1]}}, "attributes.a"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(
    http: httpx.Client, store: str, wrong: dict[str, object], param: str
) -> None:
    answer = http.post("/v1/crawls", json={"url": URL, "vector_store_id": store, **wrong})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_schedule_crawls_a_website_again(http: httpx.Client, store: str) -> None:
    given = {"url": URL, "vector_store_id": store, "excludePaths": ["^/guide/old"]}
    schedule = http.post("/v1/schedules", json={"kind": "crawl", "input": given, "cron": "0 3 * * 0"}).json()
    assert http.post(f"/v1/schedules/{schedule['id']}/run").status_code == 200
    [crawl] = http.get("/v1/crawls", params={"vector_store_id": store}).json()["data"]
    assert crawl["options"]["excludePaths"] == ["^/guide/old"]


def test_the_older_paths_create_the_store_and_show_the_task(http: httpx.Client) -> None:
    made = http.post("/api/v1/crawler/enqueue", json={"url": URL, "vector_store": "old site"}).json()
    assert http.get(f"/v1/vector_stores/{made['vector_store_id']}").json()["name"] == "old site"
    task = http.get(f"/api/v1/crawler/{made['task_id']}").json()
    assert (task["status"], task["progress"]) == ("queued", 0)
    assert http.get(f"/v1/crawls/{made['crawl_id']}").json()["job_id"] == made["task_id"]
