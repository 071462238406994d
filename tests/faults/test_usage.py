"""The usage of requests and documents is that of a run without faults, though processes are killed.

Clients repeat a request that got no answer. A replica that was killed between the record of a request and the
answer leaves one request too many, which no record before the answer can prevent.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random

import httpx
from psycopg_pool import ConnectionPool

from cluster.settings import MIB
from serve_app.usage.usage_recorder import UsageRecorder
from tests.conftest import kill_postmaster
from tests.faults.accepted_files import Accepted, Home, await_end
from tests.faults.worker_processes import Workers
from tests.serve_app.usage.killed_replicas import MOST_TOKENS, ask, recorded, replica, sent_to
from tests.waiting import LONGEST_WAIT_S

REQUESTS, CLIENTS = 10_000, 8
#: Minimum and maximum number of requests that a replica answers before it is killed.
SERVES = 500, 2_500
#: Number of documents; ``make faults DOCUMENTS=1000`` indexes more.
DOCUMENTS = int(os.environ.get("DOCUMENTS", "60"))
#: Seconds to the first kill while documents are indexed, and from each kill to the next one. The pauses are
#: longer than the lease of the killed worker, so no job loses all its attempts.
FIRST_PAUSE_S, PAUSE_S = (0.5, 2.0), (6.0, 12.0)


class Address:
    """The URL of the replica that serves now."""

    url: str


def ask_all(numbers: Iterator[int], address: Address, answers: list[int]) -> None:
    """Take numbers, and repeat the request of each number until it is answered. Append all tokens."""
    number = next(numbers)
    while number < REQUESTS:
        try:
            with httpx.Client(base_url=address.url, timeout=LONGEST_WAIT_S) as client:
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


def test_the_usage_of_documents_is_exact_while_workers_and_postgres_are_killed(
    home: Home, workers: Workers, chance: Random
) -> None:
    client = home.client()
    files = [client.upload(f"{number}.md", document(number)) for number in range(DOCUMENTS)]

    def attached(name: str) -> list[Accepted]:
        store = client.store(name)
        return [Accepted(store, file, client.attach(store, file), "succeeded") for file in files]

    calm = attached("calm")
    await_end(home, calm)
    disturbed, kills = attached("disturbed"), 0
    while unfinished(home, disturbed):
        time.sleep(chance.uniform(*(PAUSE_S if kills else FIRST_PAUSE_S)))
        kills += 1
        if kills % 5 == 3:
            kill_postmaster(home.settings)
        elif alive := workers.alive():
            chance.choice(alive).kill()
    print(f"{kills} kills")
    assert kills
    expected = usage_of(home, calm)
    assert expected["page"] == (DOCUMENTS, DOCUMENTS)
    assert expected["embedding"][1] == expected["chunk"][1] == DOCUMENTS
    assert usage_of(home, disturbed) == expected


def document(number: int) -> bytes:
    """A page of Markdown that is like no other."""
    sentence = f"The operator of plant {number} may stop pump {number * 7}, and herons watch weir {number}. "
    return f"# Plant {number}\n\n{sentence * (1 + number % 20)}\n".encode()


def unfinished(home: Home, accepted: list[Accepted]) -> int:
    """Number of the jobs that have not ended."""
    jobs = [one.job for one in accepted]
    statement = "SELECT count(*) FROM jobs WHERE id = ANY(%s) AND state IN ('queued', 'running')"
    ((count,),) = home.ask(statement, jobs)
    return int(count)


def usage_of(home: Home, accepted: list[Accepted]) -> dict[str, tuple[int, int]]:
    """Quantity and number of the usage events of these jobs, by kind."""
    rows = home.ask(
        "SELECT kind, sum(quantity)::bigint, count(*) FROM usage_events WHERE job = ANY(%s) GROUP BY kind",
        [one.job for one in accepted],
    )
    return {kind: (quantity, events) for kind, quantity, events in rows}
