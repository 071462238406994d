"""The doctor's report over HTTP names what is wrong and repairs nothing."""

import httpx
from psycopg_pool import ConnectionPool

from tests.conftest import new_organisation
from tests.serve_app.conftest import Server
from tests.waiting import LONGEST_WAIT_S


def test_the_report_names_a_contradiction_and_leaves_it(http: httpx.Client, pool: ConnectionPool) -> None:
    organisation = new_organisation(pool)
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO jobs (organisation, id, kind, state, input)"
            " VALUES (%s, 'job_lost', 'none', 'running', '{}')",
            [organisation],
        )
    try:
        report = http.get("/v1/doctor", params={"fresh": True}).json()
        (lost,) = [one for one in report["findings"] if one["name"] == "jobs_without_lease"]
        assert lost["count"] >= 1
        assert lost["remedy"]
        assert report["healthy"] is False
        assert {"database", "blobs", "queues", "ray"} <= {part["name"] for part in report["parts"]}
        again = http.get("/v1/doctor").json()
        assert again == report  # kept, so that many open pages cost one examination
        with pool.connection() as connection:
            state = connection.execute("SELECT state FROM jobs WHERE organisation = %s", [organisation])
            assert state.fetchone() == ("running",)
    finally:
        with pool.connection() as connection:
            connection.execute("DELETE FROM jobs WHERE organisation = %s", [organisation])


def test_an_organisation_does_not_get_the_report(keyed_server: Server, operator: httpx.Client) -> None:
    made = operator.post("/v1/organisation/keys", json={"name": "all", "scopes": ["read", "write", "admin"]})
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    assert (
        httpx.get(f"{keyed_server.url}/v1/doctor", headers=headers, timeout=LONGEST_WAIT_S).status_code == 403
    )
