"""Render a web page in a browser, in processes that end with the page. The jobs that fetch pages call this.

browser = Browser(settings)
if browser.is_installed:
    rendered = await browser.render(url, body, content_type="text/html", user_agent="embedding-cluster/1.0")
    rendered.html or rendered.failure
"""

import asyncio
import base64
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import psutil
from pydantic import SecretStr

from cluster.crawls.browser_program import find_browser
from cluster.settings import Settings
from cluster.settings.outbound import OutboundSettings
from data_jobs.stages.rendering.contract import Rendered, RenderRequest

PROCESS = "data_jobs.stages.rendering.render_process"
#: Seconds for the start and the end of the browser, besides the time limit of the page.
START_S = 15.0
#: Seconds between two looks at the memory of the processes.
CHECK_INTERVAL_S = 0.5
TOO_LONG = "takes longer to render than the limit (CLUSTER_BROWSER_TIMEOUT_S)"
TOO_MUCH_MEMORY = "needs more memory to render than the limit (CLUSTER_BROWSER_MEMORY_BYTES)"
NOT_RENDERED = "cannot be rendered, because the browser ended"


class Browser:
    """Renders one page at a time.

    Args:
        settings: the settings of the browser and of the guarded transport.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._program = find_browser(settings)
        self._turn = asyncio.Semaphore()

    @property
    def is_installed(self) -> bool:
        """True if pages can be rendered."""
        return self._program is not None

    async def render(self, url: str, body: bytes, *, content_type: str, user_agent: str) -> Rendered:
        """Render the page. If the call is cancelled, kill the processes.

        Args:
            url: URL that answered with the page.
            body: HTML of the page as the server sent it.
            content_type: value of the header ``Content-Type``.
            user_agent: value of the header ``User-Agent`` of the requests that the page sends.
        """
        settings = self._settings
        assert self._program is not None
        request = RenderRequest(
            url=url,
            body=base64.b64encode(body).decode(),
            content_type=content_type,
            user_agent=user_agent,
            program=self._program,
            sandbox=settings.browser_sandbox,
            timeout_s=settings.browser_timeout_s,
            max_requests=settings.browser_requests,
            max_bytes=settings.browser_bytes,
            max_html_bytes=settings.crawl_page_bytes,
            outbound=_outbound(settings),
        )
        async with self._turn:
            return await self._in_process(json.dumps(asdict(request)).encode())

    async def _in_process(self, request: bytes) -> Rendered:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", PROCESS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        work = asyncio.create_task(process.communicate(request))
        watch = asyncio.create_task(self._exceeds_memory(process.pid))
        try:
            limit_s = self._settings.browser_timeout_s + START_S
            ended, _ = await asyncio.wait({work, watch}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if work in ended:
                return _read(work.result()[0])
            return Rendered(failure=TOO_MUCH_MEMORY if watch in ended else TOO_LONG)
        finally:
            watch.cancel()
            _kill(process.pid)
            await asyncio.gather(work, watch, return_exceptions=True)

    async def _exceeds_memory(self, pid: int) -> None:
        """Return as soon as the processes have more memory than the limit."""
        while _memory(pid) <= self._settings.browser_memory_bytes:
            await asyncio.sleep(CHECK_INTERVAL_S)


def _outbound(settings: Settings) -> dict[str, Any]:
    """Return the settings of the guarded transport as JSON values. The process gets no other secret."""
    values = {name: getattr(settings, name) for name in OutboundSettings.model_fields}
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in values.items()
    }


def _read(written: bytes) -> Rendered:
    try:
        found = json.loads(written)
        return Rendered(html=str(found["html"]), failure=str(found["failure"]))
    except (ValueError, KeyError, TypeError):
        return Rendered(failure=NOT_RENDERED)


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _memory(pid: int) -> int:
    """Return the sum of the memory that only one process has, in bytes, over all processes."""
    total = 0
    for process in _tree(pid):
        with suppress(psutil.Error):
            memory = process.memory_info()
            total += memory.rss - memory.shared
    return total


def _kill(pid: int) -> None:
    for process in _tree(pid):
        with suppress(psutil.Error):
            process.kill()
