"""The process that renders one page and ends. ``browser.Browser`` starts it for each page.

    python -m data_jobs.stages.rendering.render_process

It reads a ``RenderRequest`` from its standard input, and writes ``Rendered`` to its standard output. Chromium
gets no network of its own: its proxy is a port of this process that accepts no connection, and it resolves no
host name. So a request that is not routed through this process fails.
"""

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from dataclasses import asdict
from tempfile import TemporaryDirectory

from playwright.async_api import BrowserContext, Error, Page, async_playwright
from playwright.async_api import TimeoutError as RenderTimeout

from cluster.outbound import AsyncOutboundClient
from cluster.settings import Settings
from data_jobs.stages.rendering.contract import Rendered, RenderRequest
from data_jobs.stages.rendering.page_requests import PageRequests

PR_SET_PDEATHSIG = 1
#: Share of the time limit in which the page must load, and in which its requests may end after that.
LOAD_SHARE, QUIET_SHARE = 0.5, 0.3
#: Options of Chromium. They close the ways to the network that no route intercepts: names that are resolved
#: ahead, connections of WebRTC, QUIC, and what the browser itself fetches.
OPTIONS = (
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-bypass-list=<-loopback>",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    "--dns-prefetch-disable",
    "--disable-background-networking",
    "--disable-gpu",
    "--js-flags=--max-old-space-size=512",
)
#: JavaScript that returns at most so many characters of the page. It runs in a world of its own, in which
#: the functions of JavaScript are not those of the page.
READ = "document.documentElement ? document.documentElement.outerHTML.slice(0, {limit}) : ''"


async def render(request: RenderRequest) -> Rendered:
    """Render the page."""
    client = AsyncOutboundClient(Settings(**request.outbound))
    with socket.socket() as closed, TemporaryDirectory(prefix="browser-") as home:
        closed.bind(("127.0.0.1", 0))  # never listens, so each connection to the proxy is refused
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=request.program,
                chromium_sandbox=request.sandbox,
                args=OPTIONS,
                proxy={"server": f"http://127.0.0.1:{closed.getsockname()[1]}"},
                env={"HOME": home, "PATH": os.environ.get("PATH", ""), "TMPDIR": home},
            )
            context = await browser.new_context(
                accept_downloads=False,
                service_workers="block",
                user_agent=request.user_agent,
            )
            html = await _html(context, PageRequests(client, request), request)
            await browser.close()
            return Rendered(html=html)


async def _html(context: BrowserContext, requests: PageRequests, request: RenderRequest) -> str:
    await context.route("**/*", requests.answer)
    await context.route_web_socket("**/*", lambda connection: connection.close())
    page = await context.new_page()
    page.on("dialog", lambda dialog: dialog.dismiss())
    page.on("popup", lambda popup: popup.close())
    timeout_ms = request.timeout_s * 1_000
    try:
        await page.goto(request.url, wait_until="load", timeout=timeout_ms * LOAD_SHARE)
        await page.wait_for_load_state("networkidle", timeout=timeout_ms * QUIET_SHARE)
    except RenderTimeout:
        pass  # the page has the text that has arrived until now
    return await _text_of(page, request.max_html_bytes)


async def _text_of(page: Page, limit: int) -> str:
    session = await page.context.new_cdp_session(page)
    frame = (await session.send("Page.getFrameTree"))["frameTree"]["frame"]["id"]
    world = await session.send("Page.createIsolatedWorld", {"frameId": frame})
    read = {"expression": READ.format(limit=limit), "contextId": world["executionContextId"]}
    found = await session.send("Runtime.evaluate", {**read, "returnByValue": True})
    return str(found["result"].get("value", ""))


def main() -> None:
    """Render the page of the standard input."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # end with the worker
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # log lines must not get into the answer
    request = RenderRequest(**json.load(sys.stdin))
    try:
        rendered = asyncio.run(render(request))
    except Error as exc:
        reason = " ".join(exc.message.split())
        rendered = Rendered(failure=f"cannot be rendered by the browser ({reason[:200]})")
    with answer:
        json.dump(asdict(rendered), answer)


if __name__ == "__main__":
    main()
