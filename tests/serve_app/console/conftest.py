"""A headless Chromium that shows the console."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve_app.answers.conftest import _chatting, chatting, new_agent, new_store  # noqa: F401  fixtures
from tests.serve_app.console.console_page import ConsolePage

#: Environment variable with a folder for screenshots; without it, they are kept in pytest's temporary folder.
SCREENSHOTS = "CONSOLE_SCREENSHOTS"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium of the system. It ends with the module, because Playwright's event loop would disturb tests
    that run a loop of their own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as running:
        # Chromium refuses its sandbox to root.
        browser = running.chromium.launch(executable_path=program, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


@pytest.fixture
def console(browser: Any, tmp_path: Path) -> Iterator[ConsolePage]:
    """The console in a new tab. The test fails if a script raised an error, or if the browser refused
    something by the Content-Security-Policy.
    """
    folder = Path(os.environ.get(SCREENSHOTS, tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    page = ConsolePage(context.new_page(), folder)
    yield page
    context.close()
    assert page.errors == []
