"""A tab of the browser with the console."""

from pathlib import Path
from typing import Any

from tests.waiting import LONGEST_WAIT_S

#: Sizes of the window for screenshots: a desk and a phone.
WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
#: Roles of the accessibility tree that need a name.
CONTROLS = frozenset(
    {"application", "button", "checkbox", "combobox", "dialog", "link", "progressbar", "region", "searchbox"}
    | {"textbox"}
)
#: Milliseconds that a test waits for something on the page.
PATIENCE_MS = LONGEST_WAIT_S * 1_000


class ConsolePage:
    """The console in a tab of the browser.

    Args:
        page: the tab (``playwright.sync_api.Page``).
        folder: where screenshots are kept.
    """

    def __init__(self, page: Any, folder: Path) -> None:
        self.page = page
        self.folder = folder
        #: Errors of scripts and refused loads.
        self.errors: list[str] = []
        #: Number of clicks since the console was opened.
        self.clicks = 0
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)

    def _said(self, message: Any) -> None:
        # An answer with an error status is not an error of the page, which shows the sentence of the answer.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def open(self, url: str, address: str = "#/now", *, key: str | None = None) -> None:
        """Open a page of the console at the endpoint with this URL, and sign in if a key is given."""
        self.page.goto(f"{url}/console/{address}")
        self.clicks = 0
        if key is not None:
            self.page.get_by_label("API key").fill(key)
            self.page.keyboard.press("Enter")
        self.page.locator("main h1").wait_for()

    def click(self, target: Any) -> None:
        """Click, and count the click."""
        target.click()
        self.clicks += 1

    def shoot(self, name: str) -> None:
        """Keep screenshots of the page: on a desk and on a phone, light and dark. Check that the page is not
        wider than the window, and that a screen reader can name everything that a person can use.
        """
        self.page.evaluate("scrollTo(0, 0)")
        assert self.nameless() == []
        for size, viewport in (("wide", WIDE), ("narrow", NARROW)):
            self.page.set_viewport_size(viewport)
            assert self.overflow() == 0, size
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                path = self.folder / f"{name}-{size}-{scheme}.png"
                self.page.screenshot(path=str(path), full_page=True, animations="disabled")
        self.page.set_viewport_size(WIDE)
        self.page.emulate_media(color_scheme="light")

    def nameless(self) -> list[str]:
        """Return the roles of the controls that have no name in the accessibility tree of the browser."""
        session = self.page.context.new_cdp_session(self.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        session.detach()
        return [
            node["role"]["value"]
            for node in nodes
            if not node.get("ignored")
            and node["role"]["value"] in CONTROLS
            and not node.get("name", {}).get("value", "").strip()
        ]

    def overflow(self) -> int:
        """Return the number of pixels by which the page is wider than the window."""
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(wider))
