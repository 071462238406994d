"""The server of the site of traps: several hosts on one port, each on a loopback address of its own."""

import email.utils
import gzip
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster.outbound.network import resolve
from cluster.settings import Settings
from tests.simulators.http_server import SimulatorHandler, SimulatorServer, running
from tests.simulators.site import sitemaps, traps
from tests.simulators.site.documentation import documentation

#: Addresses and names of the hosts that requests may reach: the site, its subdomain, another site.
MAIN, SUBDOMAIN, OTHER = "127.0.0.21", "127.0.0.22", "127.0.0.23"
MAIN_NAME, SUBDOMAIN_NAME, OTHER_NAME = "docs.test", "api.docs.test", "elsewhere.test"
#: The inner service, which no request may reach.
INNER, INNER_NAME = "127.0.0.66", "inner.test"
#: A name that resolves to the site at first and to the inner service from then on.
REBINDING_NAME = "rebind.test"
ADDRESSES = {MAIN_NAME: MAIN, SUBDOMAIN_NAME: SUBDOMAIN, OTHER_NAME: OTHER, INNER_NAME: INNER}
#: Time of the first version of each page.
FIRST_VERSION = 1_750_000_000


@dataclass(frozen=True, kw_only=True)
class SitePage:
    """A page that the server answers with, and when it was changed."""

    body: bytes
    media_type: str = "text/html"
    changed_at: int = FIRST_VERSION

    @property
    def etag(self) -> str:
        """The entity tag of the page."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


@dataclass(frozen=True, kw_only=True)
class SiteRequest:
    """One request that the server got."""

    #: The address that the client connected to, and the header ``Host``.
    address: str
    host: str
    path: str
    headers: dict[str, str]
    #: Monotonic time.
    at: float
    #: Status of the answer; 0 until the answer begins.
    status: list[int] = field(default_factory=list)


class TrapSite:
    """The site: its pages, which a test may change, and the requests that it got."""

    def __init__(self, also_at: str | None = None) -> None:
        #: The one port of all hosts; known as soon as the site runs.
        self.port = 0
        #: The addresses of the site itself.
        self.addresses = [MAIN] if also_at is None else [MAIN, also_at]
        self.pages: dict[str, SitePage] = {}
        self.requests: list[SiteRequest] = []
        #: Requests that reached the inner service.
        self.inner_requests: list[SiteRequest] = []
        #: Bytes of the bodies of ``large``, ``slow`` and the like that were sent, by path.
        self.sent: Counter[str] = Counter()
        #: True to link to pages without an end: a calendar, and folders inside themselves.
        self.endless = False
        #: The text of robots.txt; None: the site's own text.
        self.robots: str | None = None
        self.busy_answers = 0
        self._rebound = False

    def fill(self, port: int) -> None:
        """Put all pages into their first version."""
        self.port = port
        bodies = {**documentation(), **traps.trap_pages(port)}
        self.pages = {path: SitePage(body=body) for path, body in bodies.items()}

    def url(self, path: str = "/", *, by_name: bool = True) -> str:
        """Return a URL of the site; without ``by_name``, it has the address, which needs no resolver."""
        return f"http://{MAIN_NAME if by_name else MAIN}:{self.port}{path}"

    def settings(self, **more: Any) -> Settings:
        """Return settings that permit requests to the site's hosts, and to no other inner address."""
        reachable = tuple(f"{address}/32" for address in (MAIN, SUBDOMAIN, OTHER))
        return Settings(**{"outbound_allow_cidrs": reachable, "outbound_ports": (self.port,), **more})

    def resolve(self, host: str, port: int) -> list[str]:
        """Resolve names of the site; the resolver of a guarded client. Other names resolve as usual."""
        if host == REBINDING_NAME:
            self._rebound, before = True, self._rebound
            return [INNER if before else MAIN]
        return [ADDRESSES[host]] if host in ADDRESSES else resolve(host, port)

    def expected_paths(self) -> set[str]:
        """Return the paths of all pages that robots may read and that have text, without the endless ones.

        Of the two equal pages, ``same-1.html`` and ``same-2.html``, both are named.
        """
        return {"/", *self.pages, *traps.WITH_TEXT} - traps.FORBIDDEN

    def put(self, path: str, body: bytes, media_type: str = "text/html") -> None:
        """Add a page, to which the home page links, or replace it."""
        self.pages[path] = SitePage(body=body, media_type=media_type, changed_at=FIRST_VERSION + 86_400)

    def change(self, path: str, sentence: str) -> None:
        """Add a paragraph with this sentence in the middle of a page."""
        body = self.pages[path].body
        middle = body.find(b"<p>", len(body) // 2)
        middle = body.find(b"<p>") if middle < 0 else middle
        assert middle >= 0
        self.put(path, body[:middle] + f"<p>{sentence}</p>\n".encode() + body[middle:])

    def remove(self, path: str) -> None:
        """Remove a page; it answers 404 from now on, but pages still link to it."""
        del self.pages[path]

    def home(self) -> bytes:
        """Return the home page, which links to every page of the documentation and to the traps."""
        more = ["/traps/calendar/1", "/traps/folder/"] if self.endless else []
        listed = [path for path in self.pages if path not in traps.FORBIDDEN]
        return traps.page("Documentation", traps.links("/traps/index.html", *more, *sorted(listed)))


class SiteServer(SimulatorServer):
    """The server of one host."""

    def __init__(self, address: str, port: int, site: TrapSite) -> None:
        super().__init__((address, port), SiteHandler)
        self.site = site


class SiteHandler(SimulatorHandler):
    """Answers with a page, a trap, robots.txt or a sitemap."""

    server: SiteServer

    @property
    def site(self) -> TrapSite:
        """The site."""
        return self.server.site

    def do_GET(self) -> None:
        """Answer, and keep the request."""
        self.close_connection = True
        address = str(self.server.server_address[0])
        self.request_kept = SiteRequest(
            address=address,
            host=self.headers.get("host", ""),
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            at=time.monotonic(),
        )
        if address == INNER:
            self.site.inner_requests.append(self.request_kept)
            self.send(traps.page("Secret", "<p>The inner service answers with its secret.</p>"), {})
            return
        self.site.requests.append(self.request_kept)
        if address in self.site.addresses:
            self._main()
        else:
            self._other(address)

    def _main(self) -> None:
        path, _, _ = self.path.partition("?")
        base = f"http://{self.headers.get('host', '')}"
        if path == "/robots.txt":
            own = sitemaps.robots(base, self.site.port)
            self.send((self.site.robots or own).encode(), {"content-type": "text/plain"})
        elif path.startswith("/sitemap"):
            self._sitemap(path, base)
        elif path in traps.TRAPS:
            traps.TRAPS[path](self)
        elif path == "/":
            self._page(SitePage(body=self.site.home()))
        elif path in self.site.pages:
            self._page(self.site.pages[path])
        elif path.startswith("/traps/calendar/") and path.removeprefix("/traps/calendar/").isdecimal():
            day = int(path.removeprefix("/traps/calendar/"))
            self.send(traps.page(f"Day {day}", f"<p>Day {day}.</p>", traps.links(str(day + 1))), {})
        elif path.startswith("/traps/folder/") and path.endswith("/"):
            links = traps.links("folder/", f"?session={time.monotonic_ns()}")
            self.send(traps.page("Folder", links), {})
        else:
            self.start(404, {"content-length": "0"})

    def _sitemap(self, path: str, base: str) -> None:
        paths = [page for page in self.site.pages if page not in traps.FORBIDDEN]
        body = sitemaps.sitemap(path, base, self.site.port, paths)
        if body is None:
            self.start(404, {"content-length": "0"})
        else:
            self.send(body, {"content-type": "application/xml"})

    def _other(self, address: str) -> None:
        name = SUBDOMAIN_NAME if address == SUBDOMAIN else OTHER_NAME
        if self.path == "/robots.txt":
            self.start(404, {"content-length": "0"})
        else:
            self.send(traps.page(name, f"<p>The page {self.path} of {name}.</p>", traps.links("/more")), {})

    def _page(self, page: SitePage) -> None:
        changed = email.utils.formatdate(page.changed_at, usegmt=True)
        marks = {"etag": page.etag, "last-modified": changed}
        asked = self.headers.get("if-none-match")
        since = self.headers.get("if-modified-since")
        if asked == page.etag or (asked is None and since == changed):
            self.start(304, marks)
            return
        body, more = page.body, {}
        if "gzip" in self.headers.get("accept-encoding", "") and page.media_type == "text/html":
            body, more = gzip.compress(body, 1), {"content-encoding": "gzip"}
        self.send(body, {"content-type": page.media_type, **marks, **more})

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status and the headers."""
        self.request_kept.status.append(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()

    def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer with status 200."""
        self.start(200, {"content-type": "text/html", **headers, "content-length": str(len(body))})
        self.wfile.write(body)

    def redirect(self, location: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a redirect."""
        self.start(302, {"location": location, "content-length": "0", **(headers or {})})

    def send_endless(self, piece: bytes, size: int, *, pause_s: float) -> None:
        """Send the piece again and again until ``size`` bytes are sent or the client disconnects."""
        try:
            while self.site.sent[self.path] < size:
                self.wfile.write(piece)
                self.wfile.flush()
                self.site.sent[self.path] += len(piece)
                traps.pause(pause_s)
        except OSError:
            self.close_connection = True


@contextmanager
def site_of_traps(also_at: str | None = None) -> Iterator[TrapSite]:
    """Run the site inside the block.

    Args:
        also_at: another address of this machine at which the site answers too.
    """
    site = TrapSite(also_at)
    with ExitStack() as stack:
        for address in (*site.addresses, SUBDOMAIN, OTHER, INNER):
            server = stack.enter_context(running(SiteServer(address, site.port, site)))
            site.port = int(server.server_address[1])
        site.fill(site.port)
        yield site
