"""The traps of the site: each is a path, and an answer that a careless crawler does not survive.

``server.py`` calls ``TRAPS[path](handler)`` and serves the plain pages of ``trap_pages``.
"""

import gzip
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulators.site.server import SiteHandler

MIB = 1024 * 1024
LARGE_BYTES = 200 * MIB
#: Seconds between two bytes of the slow page.
DRIP_S = 0.2
#: Forms of addresses that no request may reach.
ADDRESS_FORMS = (
    *("127.0.0.66", "127.66", "2130706498", "0x7f000042", "0177.0.0.102", "localhost", "127.0.0.1", "0"),
    *("[::1]", "[::ffff:127.0.0.66]", "[::127.0.0.66]", "[64:ff9b::7f00:42]", "[2002:7f00:42::]"),
    *("169.254.169.254", "10.0.0.1", "100.64.0.1", "192.168.0.1", "172.16.0.1", "0.0.0.0", "224.0.0.1"),
    *("[fd00::1]", "[fe80::1]", "168.63.129.16", "inner.test"),
)


def page(title: str, *body: str, head: str = "") -> bytes:
    """Return a page in HTML."""
    return (
        f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>{title}</title>{head}</head>"
        f"<body><main><h1>{title}</h1>{''.join(body)}</main></body></html>"
    ).encode()


def links(*urls: str) -> str:
    """Return a list of links."""
    return "<ul>" + "".join(f'<li><a href="{url}">{url[:60]}</a></li>' for url in urls) + "</ul>"


def trap_pages(port: int) -> dict[str, bytes]:
    """Return the pages of the traps that are ordinary pages of HTML, by path. Robots may read all of them
    except those that ``/private/`` and ``.tmp`` forbid.
    """
    inner = [f"http://{form}:{port}/secret" for form in ADDRESS_FORMS]
    duplicate = page("The same page", "<p>Two paths have this page, byte for byte.</p>", links("same-3.html"))
    return {
        "/traps/index.html": page("Traps", links(*sorted(TRAPS), *PLAIN_TRAPS)),
        "/traps/addresses.html": page("Addresses", links(*inner, f"http://rebind.test:{port}/traps/")),
        "/traps/schemes.html": page(
            "Schemes",
            links(
                "file:///etc/passwd", "javascript:alert(1)", "mailto:a@docs.test", "data:text/html,x", "tel:1"
            ),
            links("ftp://docs.test/", "//user:password@docs.test/", "http://", "http://[", "a" * 10_000),
        ),
        "/traps/canonical-file.html": page(
            "Canonical file", "<p>A file.</p>", head='<link rel="canonical" href="file:///etc/passwd">'
        ),
        "/traps/canonical-inner.html": page(
            "Canonical inner", "<p>Inside.</p>", head=f'<link rel="canonical" href="{inner[0]}">'
        ),
        "/traps/canonical-elsewhere.html": page(
            "Canonical elsewhere",
            "<p>Another origin.</p>",
            head=f'<link rel="canonical" href="http://elsewhere.test:{port}/">',
        ),
        "/traps/base.html": page(
            "Base", links("relative.html"), head=f'<base href="http://127.0.0.66:{port}/">'
        ),
        "/traps/refresh.html": page(
            "Refresh", "<p>Wait.</p>", head=f'<meta http-equiv="refresh" content="0;url={inner[0]}">'
        ),
        "/traps/same-1.html": duplicate,
        "/traps/same-2.html": duplicate,
        "/traps/app.html": page(
            "Application",
            '<div id="root"></div>',
            "<script>document.getElementById('root').innerHTML = '<p>' + "
            "['Scripts', 'wrote', 'this', 'sentence'].join(' ') + '.</p>';</script>",
        ),
        "/private/open.html": page("Open", "<p>Robots may read this page of a forbidden folder.</p>"),
        "/private/closed.html": page("Closed", "<p>Robots may not read this page.</p>"),
        "/traps/draft.tmp": page("Draft", "<p>Robots may not read this draft.</p>"),
    }


#: Links of ``/traps/index.html`` to the ordinary pages.
PLAIN_TRAPS = (
    *("addresses.html", "schemes.html", "canonical-file.html", "canonical-inner.html"),
    *("canonical-elsewhere.html", "base.html", "refresh.html", "same-1.html", "same-2.html", "app.html"),
    *("/private/open.html", "/private/closed.html", "draft.tmp", "/traps/missing.html"),
)
#: The pages of ``trap_pages`` that robots.txt forbids.
FORBIDDEN = frozenset({"/private/closed.html", "/traps/draft.tmp"})


def to_inner(handler: "SiteHandler") -> None:
    handler.redirect(f"http://127.0.0.66:{handler.site.port}/secret")


def to_inner_name(handler: "SiteHandler") -> None:
    handler.redirect(f"http://inner.test:{handler.site.port}/secret")


def to_metadata(handler: "SiteHandler") -> None:
    handler.redirect("http://169.254.169.254/latest/meta-data/")


def to_file(handler: "SiteHandler") -> None:
    handler.redirect("file:///etc/passwd")


def in_circles(handler: "SiteHandler") -> None:
    handler.redirect("/traps/circle")


def large(handler: "SiteHandler") -> None:
    """200 MB, which the header announces."""
    handler.start(200, {"content-type": "text/html", "content-length": str(LARGE_BYTES)})
    handler.send_endless(b"<p>large</p>\n" * 5_000, LARGE_BYTES, pause_s=0)


def large_unannounced(handler: "SiteHandler") -> None:
    """200 MB without a length."""
    handler.start(200, {"content-type": "text/html"})
    handler.send_endless(b"<p>large</p>\n" * 5_000, LARGE_BYTES, pause_s=0)


def slow(handler: "SiteHandler") -> None:
    """One byte at a time, without an end."""
    handler.start(200, {"content-type": "text/html"})
    handler.send_endless(b"x", LARGE_BYTES, pause_s=DRIP_S)


@cache
def bomb() -> bytes:
    """Return gzip that becomes 256 MiB."""
    return gzip.compress(b" " * MIB) * 256


def gzip_bomb(handler: "SiteHandler") -> None:
    handler.send(bomb(), {"content-type": "text/html", "content-encoding": "gzip"})


def cookie_wall(handler: "SiteHandler") -> None:
    """Readers without the cookie are sent back for ever."""
    if "seen=1" in handler.headers.get("cookie", ""):
        handler.send(page("Behind the wall", "<p>A reader with cookies sees this page.</p>"), {})
    else:
        handler.redirect(handler.path, {"set-cookie": "seen=1"})


def busy(handler: "SiteHandler") -> None:
    """429 with a time to wait for the first two requests, then the page."""
    handler.site.busy_answers += 1
    if handler.site.busy_answers <= 2:
        handler.start(429, {"retry-after": "1", "content-length": "0"})
    else:
        handler.send(page("Busy", "<p>The page answers at the third request.</p>"), {})


def unavailable(handler: "SiteHandler") -> None:
    handler.start(503, {"content-length": "0"})


def truncated(handler: "SiteHandler") -> None:
    handler.start(200, {"content-type": "text/html", "content-length": "5000"})
    handler.wfile.write(b"<p>The connection ends here")


def reset(handler: "SiteHandler") -> None:
    handler.reset()


def many_headers(handler: "SiteHandler") -> None:
    handler.start(200, {f"x-{number}": "a" * 1_000 for number in range(1_000)})


def film(handler: "SiteHandler") -> None:
    handler.send(b"\0\0\0\x18ftypmp42" + bytes(100), {"content-type": "video/mp4"})


def attachment(handler: "SiteHandler") -> None:
    handler.send(b"# Notes\n\nA file in Markdown.\n", {"content-type": "text/markdown"})


TRAPS: dict[str, Callable[["SiteHandler"], None]] = {
    "/traps/redirect-inner": to_inner,
    "/traps/redirect-inner-name": to_inner_name,
    "/traps/redirect-metadata": to_metadata,
    "/traps/redirect-file": to_file,
    "/traps/circle": in_circles,
    "/traps/large.html": large,
    "/traps/large-unannounced.html": large_unannounced,
    "/traps/slow.html": slow,
    "/traps/bomb.html": gzip_bomb,
    "/traps/cookies.html": cookie_wall,
    "/traps/busy.html": busy,
    "/traps/unavailable.html": unavailable,
    "/traps/truncated.html": truncated,
    "/traps/reset.html": reset,
    "/traps/headers.html": many_headers,
    "/traps/film.mp4": film,
    "/traps/notes.md": attachment,
}
#: The traps after which a page has text, in the end.
WITH_TEXT = frozenset({"/traps/busy.html", "/traps/notes.md"})


def pause(seconds: float) -> None:
    """Wait between two pieces of a slow answer."""
    if seconds:
        time.sleep(seconds)
