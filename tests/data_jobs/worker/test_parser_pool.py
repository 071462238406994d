"""Who gets the next free parser."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.settings import Settings
from data_jobs.worker import parser_pool as module
from data_jobs.worker.parser_pool import Parsers


async def order(parsers: Parsers, *ranks: int, pause_s: float) -> list[int]:
    """Ranks in the order in which they were served, when each came so much after the one before and all
    waited for the only parser.
    """
    served: list[int] = []
    taken = await parsers._take(0)

    async def wait(rank: int) -> None:
        parser = await parsers._take(rank)
        served.append(rank)
        parsers._give_back(parser)

    waiting = []
    for rank in ranks:
        waiting.append(asyncio.create_task(wait(rank)))
        await asyncio.sleep(pause_s)
    parsers._give_back(taken)
    await asyncio.gather(*waiting)
    return served


def test_the_most_urgent_is_served_first_unless_another_has_waited_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(1) as threads:
        parsers = Parsers(settings, threads, 1)
        assert asyncio.run(order(parsers, 1, 3, 2, 3, pause_s=0)) == [3, 3, 2, 1]
        monkeypatch.setattr(module, "LONG_WAIT_S", 0.1)
        assert asyncio.run(order(parsers, 1, 3, pause_s=0.2)) == [1, 3]


def test_who_gives_up_waiting_keeps_no_parser(settings: Settings) -> None:
    async def give_up(parsers: Parsers) -> int:
        taken = await parsers._take(0)
        waiting = asyncio.create_task(parsers._take(9))
        await asyncio.sleep(0)
        waiting.cancel()
        parsers._give_back(taken)
        await asyncio.wait([waiting])
        return len(parsers._free)

    with ThreadPoolExecutor(1) as threads:
        assert asyncio.run(give_up(Parsers(settings, threads, 1))) == 1
