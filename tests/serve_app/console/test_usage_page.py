"""The page "Usage" in a real browser: this month's usage by day, source, model and agent, and the reports."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.usage.events import REQUEST, UsageEvent, UsageSource
from cluster.usage_reports.reports import get_report
from tests.cluster.usage_reports.billed import Billed
from tests.serve_app.conftest import Server, bearer
from tests.serve_app.console.console_page import ConsolePage
from tests.waiting import LONGEST_WAIT_S

#: Tokens that each of two models reads on each day of the month.
TOKENS = {"model-a": 1_200, "model-b": 300}


@pytest.fixture(scope="module")
def key(keyed_server: Server, operator: httpx.Client) -> str:
    """A key with all scopes of an organisation with usage on each day of this month."""
    organisation = operator.post("/v1/organisations", json={"id": f"usage-{uuid4().hex[:8]}"}).json()["id"]
    made = operator.post(
        "/v1/organisation/keys",
        json={"name": "all", "scopes": ["read", "write", "admin"]},
        headers={"openai-organization": organisation},
    ).json()
    with httpx.Client(base_url=keyed_server.url, timeout=LONGEST_WAIT_S, headers=bearer(made["key"])) as http:
        agent = http.post("/v1/agents", json={"external_id": "helper", "name": "The helper"}).json()["id"]
    keyed_server.service._record_usage(list(events(organisation, agent)))
    return str(made["key"])


def events(organisation: str, agent: str) -> Iterator[UsageEvent]:
    """The usage of the month until today."""
    now = datetime.now(UTC)
    for day in range(now.day):
        common: dict[str, Any] = {"organisation": organisation, "at": now - timedelta(days=day)}
        for model, tokens in TOKENS.items():
            source = UsageSource.SEARCH if model == "model-a" else UsageSource.HTTP
            yield UsageEvent(
                **common, id=f"{organisation}-{model}-{day}", source=source, model=model,
                quantity=tokens, agent=agent if model == "model-b" else None, cost=Decimal("0.01"),
                kind="provider_embedding" if day == 40 else "embedding",
            )  # fmt: skip
        requests = {"source": UsageSource.HTTP, "model": "model-a", "quantity": 7, "kind": REQUEST}
        yield UsageEvent(**common, **requests, id=f"{organisation}-request-{day}")


def test_two_clicks_show_the_usage_of_this_month(
    console: ConsolePage, keyed_server: Server, key: str
) -> None:
    page, days = console.page, datetime.now(UTC).day
    console.open(keyed_server.url, key=key)
    console.click(page.get_by_role("link", name="Usage"))
    tokens = page.locator(".tile").filter(has_text="Tokens embedded")
    tokens.wait_for()
    assert console.clicks <= 3
    assert tokens.locator(".note").inner_text() == f"{days * sum(TOKENS.values()):,}"
    console.shoot("usage")
    assert key not in page.url
    assert key not in page.content()


def test_the_plot_is_divided_by_model_and_agent_and_read_with_the_keyboard(
    console: ConsolePage, keyed_server: Server, key: str
) -> None:
    page = console.page
    console.open(keyed_server.url, "#/usage", key=key)
    page.get_by_role("button", name="By model").click()
    assert page.locator(".legend li").all_inner_texts() == ["model-a", "model-b"]
    page.get_by_role("application", name="Tokens embedded by day").focus()
    page.keyboard.press("End")
    spoken = page.locator(".chart [aria-live]").text_content()
    assert "total 1.5K, model-a 1.2K, model-b 300" in spoken
    page.get_by_role("button", name="By agent").click()
    assert page.locator(".legend li").all_inner_texts() == ["without an agent", "The helper"]
    page.get_by_text("The same numbers as a table").click()
    last = page.get_by_role("region", name="Tokens embedded by day").get_by_role("row").last
    assert last.get_by_role("cell").all_inner_texts()[1:] == ["1,200", "300", "1,500"]
    console.shoot("usage-by-agent")


def test_a_report_is_requested_and_downloaded(console: ConsolePage, keyed_server: Server, key: str) -> None:
    page = console.page
    console.open(keyed_server.url, "#/usage", key=key)
    page.get_by_role("button", name="Report of this period").click()
    row = page.get_by_role("region", name="Usage reports").get_by_role("row").nth(1)
    row.get_by_text("queued").wait_for()
    assert "Draft" in row.inner_text()
    make_reports(keyed_server, key)
    with page.expect_download() as download:
        row.get_by_role("button", name="Download the CSV").click()
    assert download.value.suggested_filename.endswith("-draft.csv")
    assert download.value.path().read_text().startswith("line,day,")


def make_reports(server: Server, key: str) -> None:
    """Make the requested reports of the key's organisation, as a worker does."""
    service = server.service
    with (
        open_pool(service.settings, access=OWNER) as pool,
        httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S, headers=bearer(key)) as http,
    ):
        owner = Billed(http.get("/v1/caller").json()["organisation"], pool, service.blobs)
        for listed in http.get("/v1/usage_reports").json()["data"]:
            with owner.opener() as connection:
                report = get_report(connection, owner.id, listed["id"])
            owner.maker.make_requested(report, datetime.now(UTC))


def test_periods_are_days_and_months_in_utc(console: ConsolePage, keyed_server: Server, key: str) -> None:
    console.open(keyed_server.url, "#/usage", key=key)
    found = console.page.evaluate(
        """async () => {
            const { periodOf } = await import("./pages/usage/figures.js");
            const date = (at) => new Date(at * 1000).toISOString().slice(0, 10);
            const at = new Date("2026-01-01T00:30:00Z");
            return ["this-month", "last-month", "7-days"].map((name) => periodOf(name, at).map(date));
        }"""
    )
    assert found == [["2026-01-01", "2026-01-02"], ["2025-12-01", "2026-01-01"], ["2025-12-26", "2026-01-02"]]


def test_the_height_of_a_bar_is_its_value_and_the_scale_has_round_numbers(
    console: ConsolePage, keyed_server: Server, key: str
) -> None:
    console.open(keyed_server.url, "#/usage", key=key)
    heights, scales = console.page.evaluate(
        """async () => {
            const { scale, stackedBars } = await import("./plots.js");
            const series = [{ name: "a", values: [10, 40] }, { name: "b", values: [0, 20] }];
            const chart = stackedBars({ label: "l", columns: ["1", "2"], series });
            const bars = [...chart.querySelectorAll("rect:not(.hit)")];
            const heights = bars.map((one) => Number(one.getAttribute("height")));
            return [heights.map((one) => one / heights[0]), [0, 7, 1000, 0.03].map((most) => scale(most))];
        }"""
    )
    assert heights == pytest.approx([1, 4, 2])
    assert scales[:3] == [[0, 1], [0, 2, 4, 6, 8], [0, 250, 500, 750, 1000]]
    assert scales[3] == pytest.approx([0, 0.01, 0.02, 0.03])
