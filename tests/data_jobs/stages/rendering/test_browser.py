"""A browser renders a page without a network of its own, within limits, and ends with the page."""

import asyncio
from collections.abc import Iterator

import psutil
import pytest

from cluster.settings import Settings
from data_jobs.stages.rendering import browser
from data_jobs.stages.rendering.browser import Browser
from data_jobs.stages.rendering.contract import Rendered
from tests.data_jobs.stages.rendering.rendered_site import (
    SHELL,
    browser_settings,
    put_application,
    put_attack,
)
from tests.simulators.site import TrapSite, site_of_traps


@pytest.fixture(scope="module")
def site() -> Iterator[TrapSite]:
    with site_of_traps() as site:
        put_application(site)
        yield site


def rendered(settings: Settings, site: TrapSite, body: bytes = SHELL) -> Rendered:
    """Render the HTML as the page ``/app/quokkas`` of the site."""
    url = site.url("/app/quokkas", by_name=False)
    work = Browser(settings).render(url, body, content_type="text/html", user_agent="tests/1.0")
    return asyncio.run(work)


def browsers() -> list[str]:
    """The command lines of the processes that this process started, except those that have ended."""
    children = psutil.Process().children(recursive=True)
    return [child.name() for child in children if child.status() != psutil.STATUS_ZOMBIE]


def test_a_page_shows_what_its_scripts_fetch_and_reaches_nothing_else(
    settings: Settings, site: TrapSite
) -> None:
    settings = browser_settings(settings, site)
    site.requests.clear()
    before = browsers()
    attack = put_attack(site)
    found = rendered(settings, site, attack + b"<script src=/app/main.js></script>")
    assert "Quokkas live on Rottnest Island." in found.html, found.failure
    assert not site.inner_requests
    asked = [request.path for request in site.requests]
    assert {"/app/main.js", "/app/attack.js", "/app/quokkas.json", "/traps/redirect-inner"} == set(asked)
    assert {request.headers["user-agent"] for request in site.requests} == {"tests/1.0"}
    assert browsers() == before


def test_the_requests_of_a_page_are_limited(settings: Settings, site: TrapSite) -> None:
    settings = browser_settings(settings, site).model_copy(update={"browser_requests": 1})
    site.requests.clear()
    found = rendered(settings, site)
    assert found.html, found.failure
    assert "Quokkas" not in found.html
    assert [request.path for request in site.requests] == ["/app/main.js"]


def test_a_page_whose_scripts_never_end_is_killed(
    settings: Settings, site: TrapSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "START_S", 4.0)
    settings = browser_settings(settings, site).model_copy(update={"browser_timeout_s": 1.0})
    before = browsers()
    found = rendered(settings, site, b"<p>Text.</p><script>for (;;) {}</script>")
    assert found == Rendered(failure=browser.TOO_LONG)
    assert browsers() == before


def test_a_page_that_needs_much_memory_is_killed(settings: Settings, site: TrapSite) -> None:
    settings = browser_settings(settings, site).model_copy(update={"browser_memory_bytes": 1_000_000})
    assert rendered(settings, site) == Rendered(failure=browser.TOO_MUCH_MEMORY)
