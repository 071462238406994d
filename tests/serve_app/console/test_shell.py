"""The frame of the console in a real browser: the key, the keyboard, what a screen reader finds."""

import httpx

from tests.serve_app.conftest import OPERATOR_KEY, Server
from tests.serve_app.console.console_page import NARROW, ConsolePage
from tests.waiting import LONGEST_WAIT_S

#: Pages that every caller has.
PAGES = ("Now", "Jobs", "Schedules", "Health")


def test_the_key_stays_in_the_tab_and_in_no_address(console: ConsolePage, keyed_server: Server) -> None:
    page = console.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    console.open(keyed_server.url, key="sk-wrong")
    page.get_by_role("alert").get_by_text("key").wait_for()
    console.shoot("sign-in")
    page.get_by_label("API key").fill(OPERATOR_KEY)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Now", level=1).wait_for()
    page.get_by_text("Live", exact=True).wait_for()
    assert not [url for url in [*asked, page.url] if OPERATOR_KEY in url]
    stores = "[sessionStorage, localStorage].map((one) => JSON.stringify(one))"
    session, local = page.evaluate(stores)
    assert OPERATOR_KEY in session
    assert OPERATOR_KEY not in local
    assert page.context.cookies() == []
    page.reload()
    page.get_by_role("heading", name="Now", level=1).wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").wait_for()
    assert OPERATOR_KEY not in page.evaluate(stores)[0]


def test_an_endpoint_that_is_away_does_not_cost_the_key(console: ConsolePage, keyed_server: Server) -> None:
    page = console.page
    console.open(keyed_server.url, key=OPERATOR_KEY)
    page.get_by_role("heading", name="Now", level=1).wait_for()
    page.route(
        "**/v1/caller", lambda route: route.fulfill(status=503, json={"error": {"message": "is away"}})
    )
    page.reload()
    page.get_by_text("is away").wait_for()
    page.unroute("**/v1/caller")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("heading", name="Now", level=1).wait_for()


def test_an_address_that_is_not_valid_shows_the_first_page(
    console: ConsolePage, keyed_server: Server
) -> None:
    console.open(keyed_server.url, "#/jobs/%", key=OPERATOR_KEY)
    console.page.get_by_role("heading", name="Now", level=1).wait_for()


def test_the_page_health_waits_for_an_endpoint_that_is_away(
    console: ConsolePage, keyed_server: Server
) -> None:
    page = console.page
    page.clock.install()
    page.route("**/readyz", lambda route: route.abort())
    console.open(keyed_server.url, "#/health", key=OPERATOR_KEY)
    page.get_by_text("The endpoint does not answer").wait_for()
    page.unroute("**/readyz")
    page.clock.fast_forward(60_000)
    page.get_by_role("heading", name="Endpoint").wait_for()


def test_every_page_has_landmarks_a_title_and_no_sideways_scroll(
    console: ConsolePage, keyed_server: Server
) -> None:
    page = console.page
    console.open(keyed_server.url, key=OPERATOR_KEY)
    for name in PAGES:
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
        page.get_by_role("main").get_by_role("heading", name=name, level=1).wait_for()
        assert page.title().startswith(name)
        assert page.locator("[aria-current=page]").inner_text() == name
        unnamed = (
            "[...document.querySelectorAll('button,input,select,a')].filter((one) => one.checkVisibility()"
        )
        unnamed += " && !one.labels?.length && !one.ariaLabel && !one.textContent.trim()).length"
        assert page.evaluate(unnamed) == 0, name
        if name in {"Schedules", "Health"}:
            page.get_by_role("region").first.wait_for()
            console.shoot(name.lower())
        page.set_viewport_size(NARROW)
        assert console.overflow() == 0, name


def test_the_keyboard_reaches_the_pages(console: ConsolePage, keyed_server: Server) -> None:
    page = console.page
    console.open(keyed_server.url, key=OPERATOR_KEY)
    page.get_by_role("heading", name="Now", level=1).wait_for()
    page.get_by_role("link", name="Skip to the content").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("link", name="Jobs", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Jobs", level=1).wait_for()
    assert page.evaluate("document.activeElement.tagName") == "H1"  # a screen reader begins to read here


def test_the_browser_refuses_markup_made_of_text(console: ConsolePage, keyed_server: Server) -> None:
    page = console.page
    console.open(keyed_server.url, key=OPERATOR_KEY)
    attack = "() => { try { document.body.innerHTML = '<b>x</b>' } catch (error) { return error.name } }"
    assert page.evaluate(attack) == "TypeError"
    console.errors.clear()
    policy = httpx.get(f"{keyed_server.url}/console/", timeout=LONGEST_WAIT_S).headers[
        "content-security-policy"
    ]
    assert "require-trusted-types-for 'script'" in policy


def test_the_operator_sees_the_doctors_findings(console: ConsolePage, keyed_server: Server) -> None:
    page = console.page
    console.open(keyed_server.url, "#/health", key=OPERATOR_KEY)
    parts = page.get_by_role("region", name="Parts of the cluster")
    parts.get_by_text("database", exact=True).wait_for()
    assert parts.get_by_text("To do:").count() >= 1  # no Ray runs here, and the doctor says so
