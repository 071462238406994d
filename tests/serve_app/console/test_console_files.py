"""The console's files are served without a key, with a strict policy, and are all that the page needs."""

import re
from pathlib import Path

import httpx
import pytest

from serve_app.console.console_files import console_files
from tests.conftest import ROOT
from tests.serve_app.conftest import Server
from tests.waiting import LONGEST_WAIT_S

STATIC = ROOT / "serve_app" / "console" / "static"
SCRIPTS = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js"))


def test_the_page_needs_no_key_but_its_data_does(keyed_server: Server) -> None:
    with httpx.Client(base_url=keyed_server.url, follow_redirects=True, timeout=LONGEST_WAIT_S) as http:
        page = http.get("/console")
        assert (page.status_code, page.url.path) == (200, "/console/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert http.get("/console/../v1/models").status_code == 401
        for path in ("/console/%2e%2e/%2e%2e/api.py", "/console/console_files.py", "/console/pages"):
            assert http.get(path).status_code == 404, path
        assert [http.get(path).status_code for path in ("/v1/caller", "/v1/overview")] == [401, 401]


def test_every_file_has_the_policy_and_is_sent_only_if_it_has_changed(http: httpx.Client) -> None:
    for path in console_files():
        answer = http.get(f"/console/{path}")
        policy = answer.headers["content-security-policy"]
        assert {"default-src 'none'", "script-src 'self'"} <= set(policy.split("; ")), path
        assert "unsafe" not in policy
        assert "data:" not in policy
        assert answer.headers["cache-control"] == "no-cache"
        again = http.get(f"/console/{path}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_every_file_of_the_folder_is_served() -> None:
    in_folder = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    assert set(console_files()) == in_folder


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_makes_html_of_text_or_loads_from_elsewhere(script: str) -> None:
    """The browser refuses both as well; this test names the line before anybody opens the page."""
    source = (STATIC / script).read_text(encoding="utf-8")
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|EventSource\("
    )
    assert forbidden.findall(source) == []
    for module in re.findall(r"""(?:from|import\()\s*["']([^"']+)["']""", source):
        assert module.startswith("."), module
        assert (STATIC / Path(script).parent / module).resolve().is_file(), module
    assert len(source.splitlines()) <= 350
