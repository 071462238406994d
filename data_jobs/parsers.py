"""A few parsing processes for many jobs at once: who is most urgent gets the next free one.

parsers = Parsers(settings, threads, 2)
parsed = await parsers.parse(data, name="report.pdf", part=(0, 50), rank=3)
"""

import asyncio
import heapq
import threading
from concurrent.futures import Executor
from functools import partial
from itertools import count

from cluster.records import ParsedDocument
from cluster.settings import Settings
from data_jobs.stages.parse import Parser


class Parsers:
    """On one event loop."""

    def __init__(self, settings: Settings, threads: Executor, size: int) -> None:
        self._threads = threads
        self._all = [Parser(settings) for _ in range(size)]
        self._free = list(self._all)
        self._waiting: list[tuple[int, int, asyncio.Future[Parser]]] = []
        self._numbers = count()

    async def parse(self, data: bytes, *, name: str, rank: int, part: tuple[int, int] | None = None) -> ParsedDocument:
        """As ``Parser.parse``. Cancelled, it ends the parsing at once.

        Args:
            data: the file.
            name: what its owner calls it.
            rank: who waits with a higher one is served first.
            part: of a PDF only these pages.
        """
        parser = await self._take(rank)
        unwanted = threading.Event()
        parse = partial(parser.parse, data, name=name, part=part, unwanted=unwanted)
        parsing = asyncio.get_running_loop().run_in_executor(self._threads, parse)
        parsing.add_done_callback(lambda _: self._give_back(parser))
        try:
            return await asyncio.shield(parsing)
        except asyncio.CancelledError:
            unwanted.set()
            if not parsing.done():  # else somebody else has the parser by now
                parser.interrupt()
            raise

    def close(self) -> None:
        """End the processes."""
        for parser in self._all:
            parser.interrupt()
            parser.close()

    async def _take(self, rank: int) -> Parser:
        if self._free:
            return self._free.pop()
        waiter: asyncio.Future[Parser] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-rank, next(self._numbers), waiter))
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._give_back(waiter.result())
            raise

    def _give_back(self, parser: Parser) -> None:
        while self._waiting:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(parser)
                return
        self._free.append(parser)
