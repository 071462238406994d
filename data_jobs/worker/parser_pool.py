"""Share a few parsing processes between many jobs. The most urgent job gets the next free process.

A job that has waited long comes before more urgent jobs.

parsers = Parsers(settings, threads, 2)
parsed = await parsers.parse(data, name="report.pdf", part=(0, 50), rank=3)
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, TypeVar

from cluster.records import Outcome, ParsedDocument
from cluster.settings import Settings
from data_jobs.stages.containers.contract import EntryLimits
from data_jobs.stages.formats.contract import OcrRequest
from data_jobs.stages.formats.web.sitemaps import FoundInSitemap
from data_jobs.stages.formats.web.web_page import WebPage
from data_jobs.stages.parsing.parser import Parser

T = TypeVar("T")

#: A job that has waited this many seconds gets the next parser, even if other jobs have a higher rank.
#: Otherwise a stream of urgent jobs could keep every parser busy.
LONG_WAIT_S = 5.0


@dataclass(slots=True, eq=False)
class _Waiter:
    rank: int
    parser: asyncio.Future[Parser]
    since: float = field(default_factory=time.monotonic)


class Parsers:
    """Shares the parsing processes of one worker, on one event loop."""

    def __init__(self, settings: Settings, threads: Executor, size: int) -> None:
        self._threads = threads
        self._all = [Parser(settings) for _ in range(size)]
        self._free = list(self._all)
        #: Jobs that wait for a parser, in the order of arrival.
        self._waiting: list[_Waiter] = []

    async def parse(
        self,
        data: bytes,
        *,
        name: str,
        rank: int,
        part: tuple[int, int] | None = None,
        timeout_s: float | None = None,
        ocr: OcrRequest | None = None,
        on_begin: Callable[[], None] = lambda: None,
    ) -> ParsedDocument:
        """Parse a file as ``Parser.parse`` does. If the call is cancelled, kill the parsing process.

        Args:
            data: the file.
            name: the file name.
            rank: a waiting job with a higher rank goes first.
            part: the pages to parse, in a format that is parsed in parts; see ``Parser.parse``.
            timeout_s: time limit in seconds; None means the setting ``parse_timeout_s``.
            ocr: see ``Parser.parse``.
            on_begin: called as soon as a parser is free.
        """

        def parse(parser: Parser, cancelled: threading.Event) -> ParsedDocument:
            limits: dict[str, Any] = {"part": part, "timeout_s": timeout_s, "ocr": ocr}
            return parser.parse(data, name=name, cancelled=cancelled, **limits)

        return await self._run(parse, rank, on_begin)

    async def unpack(
        self,
        data: bytes,
        *,
        name: str,
        rank: int,
        limits: EntryLimits,
        into: BinaryIO,
        on_begin: Callable[[], None] = lambda: None,
    ) -> tuple[Outcome, str] | None:
        """Unpack a container as ``Parser.unpack`` does. If the call is cancelled, kill the parsing process.

        Args:
            data: the container.
            name: the file name.
            rank: a waiting job with a higher rank goes first.
            limits: the limits on the entries.
            into: see ``Parser.unpack``.
            on_begin: called as soon as a parser is free.
        """

        def unpack(parser: Parser, cancelled: threading.Event) -> tuple[Outcome, str] | None:
            return parser.unpack(data, name=name, limits=limits, into=into, cancelled=cancelled)

        return await self._run(unpack, rank, on_begin)

    async def read_web_page(self, data: bytes, *, url: str, charset: str | None, rank: int) -> WebPage:
        """Read a fetched web page as ``Parser.read_web_page`` does. If the call is cancelled, kill the
        parsing process.

        Args:
            data, url, charset: see ``Parser.read_web_page``.
            rank: a waiting job with a higher rank goes first.
        """

        def read(parser: Parser, cancelled: threading.Event) -> WebPage:
            return parser.read_web_page(data, url=url, charset=charset, cancelled=cancelled)

        return await self._run(read, rank)

    async def read_sitemap(self, data: bytes, *, url: str, rank: int) -> FoundInSitemap:
        """Read a fetched sitemap as ``Parser.read_sitemap`` does; see ``read_web_page``."""

        def read(parser: Parser, cancelled: threading.Event) -> FoundInSitemap:
            return parser.read_sitemap(data, url=url, cancelled=cancelled)

        return await self._run(read, rank)

    async def read_robots(self, data: bytes, *, url: str, agent: str, rank: int) -> str:
        """Read a fetched ``robots.txt`` as ``Parser.read_robots`` does; see ``read_web_page``."""

        def read(parser: Parser, cancelled: threading.Event) -> str:
            return parser.read_robots(data, url=url, agent=agent, cancelled=cancelled)

        return await self._run(read, rank)

    async def _run(
        self,
        work: Callable[[Parser, threading.Event], T],
        rank: int,
        on_begin: Callable[[], None] = lambda: None,
    ) -> T:
        parser = await self._take(rank)
        on_begin()
        cancelled = threading.Event()
        parsing = asyncio.get_running_loop().run_in_executor(self._threads, partial(work, parser, cancelled))
        parsing.add_done_callback(lambda _: self._give_back(parser))
        try:
            return await asyncio.shield(parsing)
        except asyncio.CancelledError:
            cancelled.set()
            if not parsing.done():  # after the parse, another job may use the parser already
                parser.interrupt()
            raise

    def close(self) -> None:
        """End the parsing processes."""
        for parser in self._all:
            parser.interrupt()
            parser.close()

    async def _take(self, rank: int) -> Parser:
        if self._free:
            return self._free.pop()
        waiter = _Waiter(rank, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            return await waiter.parser
        except asyncio.CancelledError:
            if waiter.parser.done() and not waiter.parser.cancelled():
                self._give_back(waiter.parser.result())
            raise

    def _give_back(self, parser: Parser) -> None:
        self._waiting = [waiter for waiter in self._waiting if not waiter.parser.done()]
        if not self._waiting:
            self._free.append(parser)
            return
        oldest = self._waiting[0]
        patient = time.monotonic() - oldest.since < LONG_WAIT_S
        following = (
            max(self._waiting, key=lambda waiter: waiter.rank) if patient else oldest
        )  # of several waiters with the highest rank, ``max`` returns the first one
        self._waiting.remove(following)
        following.parser.set_result(parser)
