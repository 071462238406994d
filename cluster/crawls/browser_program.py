"""Find the browser that renders web pages. The jobs that fetch pages and the doctor use this.

find_browser(settings)         # "/usr/bin/chromium", or None
browser_sentence(settings)     # "web pages are not rendered: the extra browser is not installed"
"""

import os
import shutil
from importlib.util import find_spec

from cluster.settings import Settings

#: Names of Chromium's program, in the order in which they are looked for.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: The library that controls the browser; the optional extra ``browser`` installs it.
LIBRARY = "playwright"
ROOT = 0


def find_browser(settings: Settings) -> str | None:
    """Return the absolute path of Chromium; None if pages cannot or must not be rendered on this node."""
    if settings.browser == "off" or find_spec(LIBRARY) is None:
        return None
    return _program(settings)


def browser_sentence(settings: Settings) -> str:
    """Return a sentence that says whether web pages are rendered on this node, and if not, why."""
    if settings.browser == "off":
        return "web pages are not rendered (CLUSTER_BROWSER)"
    if find_spec(LIBRARY) is None:
        return "web pages are not rendered, because the extra browser is not installed"
    if _program(settings) is None:
        return "web pages are not rendered, because Chromium is not installed (CLUSTER_BROWSER_PROGRAM)"
    if settings.browser_sandbox and os.geteuid() == ROOT:
        return (
            "web pages are not rendered, because Chromium's sandbox refuses to run as root "
            "(CLUSTER_BROWSER_SANDBOX)"
        )
    return f"{_program(settings)} renders web pages"


def _program(settings: Settings) -> str | None:
    if settings.browser_program is not None:
        return shutil.which(settings.browser_program)
    return next(filter(None, map(shutil.which, PROGRAMS)), None)
