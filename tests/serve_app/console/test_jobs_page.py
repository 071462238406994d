"""The pages "Now", "Jobs" and a job in a real browser: dead letters, live changes, ten thousand jobs."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from tests.conftest import new_organisation
from tests.serve_app.conftest import OPERATOR_KEY, Server, bearer
from tests.serve_app.console.console_page import NARROW, ConsolePage
from tests.waiting import LONGEST_WAIT_S

REASON = "the PDF is encrypted; remove its password and attach the file again"
MANY = 10_000
#: Maximum processor time of one task of the page; a longer task delays what the reader does (W3C Long Tasks).
LONGEST_TASK_MS = 50
#: JavaScript that scrolls down until the table has every job.
SCROLL_TO_THE_END = f"""
async (scroller) => {{
  while (scroller.querySelector("table").getAttribute("aria-rowcount") < {MANY} + 1) {{
    scroller.scrollTo(0, scroller.scrollHeight);
    await new Promise(requestAnimationFrame);
  }}
}}
"""


class Tenant:
    """An organisation with jobs, and its key."""

    def __init__(self, server: Server, pool: ConnectionPool) -> None:
        self.url, self.pool = server.url, pool
        self.organisation = new_organisation(pool)
        self.key = self.new_key(["read", "write", "admin"])

    def new_key(self, scopes: list[str]) -> str:
        """Make a key with these scopes."""
        headers = {**bearer(OPERATOR_KEY), "openai-organization": self.organisation}
        body = {"name": uuid4().hex, "scopes": scopes}
        made = httpx.post(
            f"{self.url}/v1/organisation/keys", json=body, headers=headers, timeout=LONGEST_WAIT_S
        )
        return str(made.json()["key"])

    def add(self, count: int, *, kind: str = "index_file", state: str = "succeeded") -> None:
        """Add jobs that ended, each with an attempt and two stages."""
        with self.pool.connection() as connection:
            connection.execute(
                """
                INSERT INTO jobs (organisation, id, kind, state, input, priority_class, subject, attempt,
                    last_attempt, created_at, started_at, finished_at, error_code, error, stage, done, total)
                SELECT %(organisation)s, 'job_' || md5(%(state)s || number), %(kind)s, %(state)s,
                    jsonb_build_object('file_id', 'file-' || number), 'medium', 'file-' || number, 1, 3,
                    now() - make_interval(secs => number), now() - make_interval(secs => number),
                    now() - make_interval(secs => number - 0.5),
                    CASE WHEN %(state)s = 'failed' THEN 'invalid_file' END,
                    CASE WHEN %(state)s = 'failed' THEN %(reason)s END, 'parse', 40, 100
                FROM generate_series(1, %(count)s) AS number
                """,
                {
                    "organisation": self.organisation,
                    "kind": kind,
                    "state": state,
                    "count": count,
                    "reason": REASON,
                },
            )
            for stage, error in (("read", None), ("parse", REASON if state == "failed" else None)):
                connection.execute(
                    """
                    INSERT INTO job_stages
                        (organisation, job, stage, attempt, tries, started_at, ended_at, error)
                    SELECT organisation, id, %s, 1, 1, started_at, finished_at, %s FROM jobs
                    WHERE organisation = %s AND state = %s LIMIT 10
                    """,
                    [stage, error, self.organisation, state],
                )

    def change(self, connection: Connection[Any], state: str, limit: int) -> None:
        """Set the state of the newest jobs, as workers do: with an event of each job."""
        connection.execute(
            """
            WITH changed AS (
                UPDATE jobs SET state = %(state)s, done = (done + 7) %% 100
                WHERE organisation = %(organisation)s AND id IN (
                    SELECT id FROM jobs WHERE organisation = %(organisation)s
                    ORDER BY created_at DESC LIMIT %(limit)s)
                RETURNING organisation, id)
            INSERT INTO job_events (organisation, job, type) SELECT organisation, id, 'progress' FROM changed
            """,
            {"organisation": self.organisation, "state": state, "limit": limit},
        )


@pytest.fixture(scope="module")
def keyed_pool(keyed_server: Server) -> Iterator[ConnectionPool]:
    """Connections to the database of the server with keys."""
    with open_pool(keyed_server.service.settings, access=OWNER) as pool:
        yield pool


@pytest.fixture
def tenant(keyed_server: Server, keyed_pool: ConnectionPool) -> Iterator[Tenant]:
    """A new organisation. Its jobs are deleted afterwards, because other tests count all jobs."""
    tenant = Tenant(keyed_server, keyed_pool)
    yield tenant
    with keyed_pool.connection() as connection:
        for table in ("job_events", "job_stages", "jobs"):
            connection.execute(f"DELETE FROM {table} WHERE organisation = %s", [tenant.organisation])


def test_two_clicks_show_why_a_document_failed_and_retry_it(
    console: ConsolePage, keyed_server: Server, tenant: Tenant
) -> None:
    tenant.add(30)
    tenant.add(1, state="failed")
    page = console.page
    console.open(keyed_server.url, key=tenant.key)
    page.get_by_role("link", name="Dead letters 1").wait_for()
    console.shoot("now")
    console.click(page.get_by_role("link", name="Dead letters"))
    row = page.get_by_role("row").filter(has_text=REASON)
    row.wait_for()
    console.shoot("jobs-failed")
    console.click(row.get_by_role("button", name="Retry"))
    page.get_by_text("No job matches.").wait_for()  # it is queued now, and leaves the list of failures
    assert console.clicks <= 3
    listed = httpx.get(
        f"{keyed_server.url}/v1/jobs?state=queued", headers=bearer(tenant.key), timeout=LONGEST_WAIT_S
    ).json()
    assert [job["error"] for job in listed["data"]] == [None]


def test_a_job_shows_its_stages_and_its_log(
    console: ConsolePage, keyed_server: Server, tenant: Tenant
) -> None:
    tenant.add(1, state="failed")
    page = console.page
    console.open(keyed_server.url, "#/jobs", key=tenant.key)
    page.get_by_role("link", name="index_file").click()
    stages = page.get_by_role("region", name="Stages of the job")
    stages.wait_for()
    assert stages.get_by_role("row").filter(has_text="parse").get_by_text(REASON).count() == 1
    console.shoot("job")
    page.set_viewport_size(NARROW)
    assert console.overflow() == 0
    page.get_by_role("button", name="Retry").click()
    page.locator(".page-head").get_by_text("queued", exact=True).wait_for()
    page.get_by_role("list", name="Events of the job").get_by_text("queued", exact=True).wait_for()


def test_dead_letters_are_retried_in_bulk(console: ConsolePage, keyed_server: Server, tenant: Tenant) -> None:
    tenant.add(40, state="failed")
    page = console.page
    console.open(keyed_server.url, "#/jobs?state=failed", key=tenant.key)
    page.get_by_role("row").nth(3).wait_for()
    for row in (1, 2):
        page.get_by_role("row").nth(row).get_by_role("checkbox").check()
    page.get_by_role("button", name="Retry 2 selected").click()
    page.get_by_text("38 jobs", exact=True).wait_for()
    page.get_by_role("button", name="Retry all that match").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry all").click()
    page.get_by_text("No job matches.").wait_for()
    headers = bearer(tenant.key)
    found = httpx.get(f"{keyed_server.url}/v1/overview", headers=headers, timeout=LONGEST_WAIT_S).json()
    assert sum(queue["queued"] for queue in found["queues"]) == 40


def test_ten_thousand_jobs_change_without_a_stutter(
    browser: Any, console: ConsolePage, keyed_server: Server, tenant: Tenant
) -> None:
    """The table draws the rows in view only: no task takes 50 ms when 200 jobs change."""
    tenant.add(MANY)
    page = console.page
    console.open(keyed_server.url, "#/jobs", key=tenant.key)
    page.get_by_text("Live", exact=True).wait_for()
    scroller = page.locator(".virtual")
    scroller.evaluate(SCROLL_TO_THE_END)
    page.get_by_text("10,000 jobs", exact=True).wait_for()
    assert scroller.locator("tr").count() < 60
    scroller.evaluate("(one) => one.scrollTo(0, 0)")
    page.get_by_role("row").filter(has_text="succeeded").first.wait_for()
    browser.start_tracing(page=page, categories=["toplevel"])
    with tenant.pool.connection() as connection:
        connection.autocommit = True
        for state in ("running", "cancelled"):
            tenant.change(connection, state, 200)
            page.get_by_role("row").filter(has_text=state).nth(5).wait_for()
        connection.autocommit = False
    events = json.loads(browser.stop_tracing())["traceEvents"]
    # The time of the processor, because other tests run on it at the same time.
    tasks = sorted(event.get("tdur", 0) / 1_000 for event in events if event["name"].endswith("::RunTask"))
    print("longest tasks of the page (ms):", tasks[-3:])
    assert len(tasks) > 100
    assert tasks[-1] < LONGEST_TASK_MS


def test_a_new_connection_renews_the_rows_and_keeps_older_ones(
    console: ConsolePage, keyed_server: Server, tenant: Tenant
) -> None:
    tenant.add(250)
    page = console.page
    console.open(keyed_server.url, "#/jobs", key=tenant.key)
    page.get_by_role("row").nth(3).wait_for()
    begun = """
    async () => {
      const { JobList } = await import("./pages/job_list.js");
      window.list = new JobList({}, undefined, (jobs, more) => (window.shown = { jobs, more }));
      for (let page = 0; page < 3; page += 1) await list.more();
      return [shown.jobs.length, shown.more];
    }
    """
    assert page.evaluate(begun) == [250, False]
    with tenant.pool.connection() as connection:
        tenant.change(connection, "running", 150)
        connection.execute(
            "DELETE FROM jobs WHERE organisation = %s AND state = 'succeeded' AND id IN"
            " (SELECT id FROM jobs WHERE organisation = %s ORDER BY created_at LIMIT 20)",
            [tenant.organisation, tenant.organisation],
        )
    renewed = "async () => { await list.refresh(); return shown.jobs.map((job) => job.state); }"
    assert page.evaluate(renewed) == ["running"] * 150 + ["succeeded"] * 80


def test_a_key_that_only_reads_sees_no_button_that_changes_something(
    console: ConsolePage, keyed_server: Server, tenant: Tenant
) -> None:
    tenant.add(2, state="failed")
    page = console.page
    console.open(keyed_server.url, "#/jobs", key=tenant.new_key(["read"]))
    page.get_by_role("row").nth(2).wait_for()
    assert page.get_by_role("button", name="Retry").count() == 0
    assert page.get_by_role("checkbox").count() == 0
