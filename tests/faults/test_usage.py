"""Usage of 10,000 requests while replicas are killed at random moments equals that of a run without faults.

Clients repeat a request that got no answer. A replica that was killed between the record of a request and the
answer leaves one request too many, which no record before the answer can prevent.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random

import httpx
import pytest
from psycopg_pool import ConnectionPool

from cluster.settings import MIB
from serve_app.usage.usage_recorder import UsageRecorder
from tests.serve_app.usage.killed_replicas import MOST_TOKENS, ask, recorded, replica, sent_to

pytestmark = pytest.mark.timeout(900)

REQUESTS, CLIENTS = 10_000, 8
#: Minimum and maximum number of requests that a replica answers before it is killed.
SERVES = 500, 2_500


class Address:
    """The URL of the replica that serves now."""

    url: str


def ask_all(numbers: Iterator[int], address: Address, answers: list[int]) -> None:
    """Take numbers, and repeat the request of each number until it is answered. Append all tokens."""
    number = next(numbers)
    while number < REQUESTS:
        try:
            with httpx.Client(base_url=address.url, timeout=30) as client:
                while number < REQUESTS:
                    answers.append(ask(client, number))
                    number = next(numbers)
        except httpx.TransportError:
            time.sleep(0.05)


def test_the_usage_of_10_000_requests_is_exact_while_replicas_are_killed(
    pool: ConnectionPool, database_url: str, organisation: str, tmp_path: Path, chance: Random
) -> None:
    numbers, address, kills = count(), Address(), 0
    answers: list[int] = []
    with ThreadPoolExecutor(CLIENTS) as clients:
        asking: list[Future[None]] = []
        while not asking or not all(one.done() for one in asking):
            with replica(tmp_path, organisation, database_url) as (process, address.url):
                until = len(answers) + chance.randint(*SERVES)
                asking = asking or [
                    clients.submit(ask_all, numbers, address, answers) for _ in range(CLIENTS)
                ]
                while len(answers) < until and not all(one.done() for one in asking):
                    time.sleep(chance.uniform(0, 0.02))
                process.kill()
                kills += 1
        for one in asking:
            one.result()
    UsageRecorder(sent_to(pool), tmp_path / "usage", max_bytes=MIB).close()  # the next replica
    found = recorded(pool, organisation)
    print(f"{kills} kills, {found.requests - REQUESTS} requests too many")
    assert kills > 1
    assert REQUESTS == len(answers) <= found.requests <= REQUESTS + kills
    assert sum(answers) <= found.tokens <= sum(answers) + kills * MOST_TOKENS
